# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the collection's bill of materials, CycloneDX 1.6 as JSON, to standard output.

It lists what a run uses: the locked Python packages with their hashes (newest lane), the collections it depends on, and
the images and charts of the version table. The programs of the rehearsal cluster are listed as excluded: nothing of
them leaves the machine that built them.
"""

from __future__ import annotations

import json
import re
import sys
import typing as t
import uuid
from collections.abc import Iterator
from pathlib import Path

import yaml
from _paths import ROOT
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

sys.path.insert(0, str(ROOT / "roles" / "rehearsal_cluster" / "files"))

from builder.families import FAMILIES

# One pin of a hashed lock and the lines that go on with its hashes.
PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)[^\n]*\\\n(?P<hashes>(?:[ ]+--hash=\S+[^\n]*\n)+)", re.M
)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
REFERENCE = re.compile(r"(?P<name>[^@:]+(?::\d+/[^@:]+)?)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")
# Names the document itself; made of what it says, so that the same sources give the same document.
NAMESPACE = uuid.UUID("6e0d8c4e-3a0c-5d0e-9c61-5f2f0b9c7a11")


def python_packages(lock: str) -> Iterator[Component]:
    for pin in PINNED.finditer(lock):
        name, version = pin["name"].lower(), pin["version"]
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=value) for value in HASH.findall(pin["hashes"])]
        yield component(ComponentType.LIBRARY, PackageURL("pypi", None, name, version), hashes=hashes)


def collections(galaxy: t.Mapping[str, t.Any]) -> Iterator[Component]:
    for name, version in galaxy["dependencies"].items():
        namespace, _dot, short = name.partition(".")
        yield component(ComponentType.LIBRARY, PackageURL("ansible", namespace, short, version))


def images(table: t.Mapping[str, str]) -> Iterator[Component]:
    for reference in table.values():
        found = REFERENCE.fullmatch(reference)
        if found is None:
            raise SystemExit(f"sbom: {reference!r} in the version table is no image reference")
        yield component(ComponentType.CONTAINER, oci(found["name"], found["digest"] or found["tag"], "image"))


def charts(table: t.Mapping[str, t.Mapping[str, str]]) -> Iterator[Component]:
    for chart in table.values():
        yield component(ComponentType.APPLICATION, oci(chart["ref"], chart["version"], "chart"))


def programs() -> Iterator[Component]:
    for family in FAMILIES:
        for required in family.requires:
            module, version = required.split()
            namespace, _slash, name = module.rpartition("/")
            purl = PackageURL("golang", namespace or None, name, version)
            yield component(ComponentType.APPLICATION, purl, scope=ComponentScope.EXCLUDED)


def oci(reference: str, version: str, kind: str) -> PackageURL:
    qualifiers = {"repository_url": reference, "kind": kind}
    return PackageURL("oci", None, reference.rpartition("/")[2], version, qualifiers)


def component(kind: ComponentType, purl: PackageURL, **fields: t.Any) -> Component:
    made = Component(type=kind, name=purl.name, version=purl.version, purl=purl, bom_ref=str(purl), **fields)
    made.group = purl.namespace
    return made


def parts(root: Path) -> list[Component]:
    """Everything, each once, in the order of the references."""
    versions = yaml.safe_load((root / "roles" / "wide_ep" / "vars" / "main.yml").read_text(encoding="utf-8"))
    galaxy = yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))
    found = [
        *python_packages((root / "requirements" / "run-py312.txt").read_text(encoding="utf-8")),
        *collections(galaxy),
        *images(versions["_wide_ep_default_images"]),
        *charts(versions["_wide_ep_default_charts"]),
        *programs(),
    ]
    return [item for _ref, item in sorted({str(item.bom_ref): item for item in found}.items())]


def document(root: Path) -> str:
    """The bill of materials of a checkout, checked against its schema."""
    galaxy = yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))
    found = parts(root)
    itself = component(
        ComponentType.APPLICATION, PackageURL("ansible", galaxy["namespace"], galaxy["name"], galaxy["version"])
    )
    bom = Bom(components=found, serial_number=uuid.uuid5(NAMESPACE, "\n".join(str(item.bom_ref) for item in found)))
    bom.metadata.component = itself
    bom.register_dependency(itself, found)
    made = json.loads(JsonV1Dot6(bom).output_as_string())
    # The time of writing would make every document another one.
    made["metadata"].pop("timestamp")
    text = json.dumps(made, indent=2, sort_keys=True) + "\n"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem:
        raise SystemExit(f"sbom: the document does not fit its schema: {problem}")
    return text


if __name__ == "__main__":
    sys.stdout.write(document(ROOT))
