# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut Google's discovery documents down to the methods that the GKE modules and their stand-in know.

The documents ship, with their revision, in the wheel of google-api-python-client, which is read and never installed:

    pip download --no-deps --dest WHEELS google-api-python-client==2.202.0
    python3 tools/trim_discovery.py WHEELS/google_api_python_client-2.202.0-*.whl [--check]

What stays: the methods of METHODS, the schemas that they reach, and of each property what a validator needs.
Descriptions go; what only they say (output only, immutable) becomes a flag.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).resolve().parent.parent / "tests/data/gke"
WITHIN_WHEEL = "googleapiclient/discovery_cache/documents/{name}.json"

# Document -> the methods that are kept, by their id without the service's name.
METHODS: dict[str, tuple[str, ...]] = {
    "container.v1": (
        "projects.locations.getServerConfig",
        "projects.locations.clusters.create",
        "projects.locations.clusters.delete",
        "projects.locations.clusters.get",
        "projects.locations.clusters.list",
        "projects.locations.clusters.setMaintenancePolicy",
        "projects.locations.clusters.setResourceLabels",
        "projects.locations.clusters.update",
        "projects.locations.clusters.nodePools.create",
        "projects.locations.clusters.nodePools.delete",
        "projects.locations.clusters.nodePools.get",
        "projects.locations.clusters.nodePools.list",
        "projects.locations.clusters.nodePools.setAutoscaling",
        "projects.locations.clusters.nodePools.setManagement",
        "projects.locations.clusters.nodePools.setSize",
        "projects.locations.clusters.nodePools.update",
        "projects.locations.operations.get",
        "projects.locations.operations.list",
    ),
    "compute.v1": (
        *(
            f"{resource}.{verb}"
            for resource in ("firewalls", "networks", "routers", "subnetworks")
            for verb in ("delete", "get", "insert", "list", "patch")
        ),
        *(f"resourcePolicies.{verb}" for verb in ("delete", "get", "insert", "list")),
        # What controllers in a cluster make, and what keeps networks from being deleted.
        *(
            f"{resource}.aggregatedList"
            for resource in ("addresses", "disks", "forwardingRules", "healthChecks", "networkEndpointGroups")
        ),
        "acceleratorTypes.get",
        "globalOperations.get",
        "globalOperations.list",
        "instanceGroupManagers.get",
        "machineTypes.aggregatedList",
        "machineTypes.get",
        "networkProfiles.get",
        "networkProfiles.list",
        "projects.get",
        "regionOperations.get",
        "regionOperations.list",
        "regions.get",
        "reservationBlocks.get",
        "reservationBlocks.list",
        "reservations.get",
        "subnetworks.setPrivateIpGoogleAccess",
        "zoneOperations.get",
    ),
}
HEAD = ("id", "name", "version", "revision", "rootUrl", "servicePath")
KEPT_OF_METHOD = ("id", "httpMethod", "path", "flatPath", "request", "response")
KEPT_OF_PARAMETER = ("type", "location", "required", "repeated", "enum", "pattern", "format")
KEPT_OF_SCHEMA = ("type", "format", "enum", "$ref", "readOnly", "pattern")
OUTPUT_ONLY = re.compile(r"\s*\[?output[ -]only", re.IGNORECASE)
IMMUTABLE = re.compile(r"\s*(optional\. )?immutable\b", re.IGNORECASE)

Json = dict[str, Any]


def trimmed(document: Mapping[str, Any], wanted: Iterable[str]) -> Json:
    """Return the document with the wanted methods and what they need."""
    found = {method["id"].partition(".")[2]: method for method in methods(document)}
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise SystemExit(f"{document['id']} revision {document['revision']} lacks: {', '.join(missing)}")
    kept = {name: slim_method(found[name]) for name in wanted}
    return {
        **{key: document[key] for key in HEAD},
        "parameters": {name: slim(spec, KEPT_OF_PARAMETER) for name, spec in document["parameters"].items()},
        "methods": kept,
        "schemas": schemas(document["schemas"], kept.values()),
    }


def methods(resource: Mapping[str, Any]) -> Iterator[Json]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from methods(inner)


def slim(spec: Mapping[str, Any], kept: Iterable[str]) -> Json:
    return {key: spec[key] for key in kept if key in spec}


def slim_method(method: Mapping[str, Any]) -> Json:
    parameters = {name: slim(spec, KEPT_OF_PARAMETER) for name, spec in method.get("parameters", {}).items()}
    return {**slim(method, KEPT_OF_METHOD), "parameters": parameters}


def schemas(all_schemas: Mapping[str, Any], kept_methods: Iterable[Mapping[str, Any]]) -> Json:
    """Return the schemas that requests and responses reach."""
    waiting = [method[side]["$ref"] for method in kept_methods for side in ("request", "response") if side in method]
    result: Json = {}
    while waiting:
        name = waiting.pop()
        if name not in result:
            result[name] = slim_schema(all_schemas[name])
            waiting += references(result[name])
    return result


def slim_schema(schema: Mapping[str, Any]) -> Json:
    """Return what a validator needs of a schema or a property, inner ones included."""
    description = schema.get("description", "")
    result = slim(schema, KEPT_OF_SCHEMA)
    if OUTPUT_ONLY.match(description):
        result["readOnly"] = True
    if IMMUTABLE.match(description):
        result["immutable"] = True
    if "properties" in schema:
        result["properties"] = {name: slim_schema(inner) for name, inner in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in schema:
            result[key] = slim_schema(schema[key])
    return result


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)


def text(document: Json) -> str:
    """One line per schema and per method, so that a new revision reads as a difference of those."""
    lines = []
    for key, value in document.items():
        if key in ("methods", "schemas"):
            rows = [f"  {json.dumps(name)}: {json.dumps(value[name], sort_keys=True)}" for name in sorted(value)]
            lines.append(f" {json.dumps(key)}: {{\n" + ",\n".join(rows) + "\n }")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, sort_keys=True)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def source_note(wheel: Path, documents: Mapping[str, Mapping[str, Any]]) -> str:
    version = wheel.name.split("-")[1]
    rows = [f"| `{name}.json` | {document['revision']} |" for name, document in documents.items()]
    return "\n".join(
        [
            "# Google's discovery documents, cut down",
            "",
            f"Source: google-api-python-client {version} on PyPI, Apache License 2.0, copyright Google LLC.",
            "`tools/trim_discovery.py` makes these files from its wheel: it keeps the methods that the GKE modules and",
            "their stand-in use with the schemas that those reach, and drops descriptions. The data stays under the",
            "Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0).",
            "",
            "| file | revision |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if a file is not up to date")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        documents = {name: json.loads(wheel.read(WITHIN_WHEEL.format(name=name))) for name in METHODS}
    files = {f"{name}.json": text(trimmed(documents[name], wanted)) for name, wanted in METHODS.items()}
    files["README.md"] = source_note(arguments.wheel, documents)
    stale = [
        name
        for name, content in files.items()
        if not (OUTPUT / name).exists() or (OUTPUT / name).read_text(encoding="utf-8") != content
    ]
    if arguments.check:
        for name in stale:
            print(f"{name} is not up to date")
        return 1 if stale else 0
    for name in stale:
        (OUTPUT / name).write_text(files[name], encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
