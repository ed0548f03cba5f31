# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/reference/rbac.yaml: the rights that whole runs were seen to use, out of the API server's audit log.

``python tools/rbac.py AUDIT_LOG...`` merges what the logs show into the page, so that runs of several modes add up;
``--replace`` starts anew; ``--check`` writes nothing and names what the logs use and the page lacks, with exit code 1.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import re
import sys
import typing as t
from collections.abc import Iterable, Mapping

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "rbac.yaml"
HEAD = """---
# The rights that whole runs were seen to use, made by tools/rbac.py out of the API server's audit log.
# wide-ep-deployer: one deployment in its namespace, and what it looks at outside. Bind it with a RoleBinding there, and
# wide-ep-viewer with a ClusterRoleBinding. wide-ep-platform: what all deployments of a cluster share.
"""
#: The rehearsal's identities and the roles that stand for them.
IDENTITIES = {"llmd-deployer": "wide-ep-deployer", "llmd-platform": "wide-ep-platform"}
#: Everyone who is authenticated may ask these.
FREE = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"})


class Right(t.NamedTuple):
    """One verb on one resource; ``cluster`` tells that it was used outside of namespaces or over all of them."""

    role: str
    group: str
    resource: str
    verb: str
    cluster: bool


def right_of(event: Mapping[str, t.Any]) -> Right | None:
    """What an event of the audit log needed; None where nobody of ours asked or nothing was granted."""
    role = IDENTITIES.get((event.get("user") or {}).get("username", ""))
    target = event.get("objectRef") or {}
    refused = (event.get("annotations") or {}).get("authorization.k8s.io/decision") == "forbid"
    if role is None or refused or not target.get("resource") or target["resource"] in FREE:
        return None
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    namespaced = bool(target.get("namespace")) and target["resource"] != "namespaces"
    return Right(role, target.get("apiGroup", ""), resource, event["verb"], not namespaced)


def rights(lines: Iterable[str]) -> set[Right]:
    found = set()
    for line in lines:
        if any(f'"{name}"' in line for name in IDENTITIES):
            event = json.loads(line)
            right = right_of(event) if event.get("stage") == "ResponseComplete" else None
            if right:
                found.add(right)
    return found


def roles(found: Iterable[Right]) -> list[dict[str, t.Any]]:
    """Three roles: all that the deployer uses, the part of it outside of its namespace, and what the platform uses."""
    every = set(found)
    deployer = {right for right in every if right.role == "wide-ep-deployer"}
    platform = {right for right in every if right.role == "wide-ep-platform"}
    return [
        role("wide-ep-deployer", deployer),
        role("wide-ep-viewer", {right for right in deployer if right.cluster}),
        role("wide-ep-platform", platform),
    ]


def role(name: str, found: Iterable[Right]) -> dict[str, t.Any]:
    verbs: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    for right in found:
        verbs[right.group, right.resource].add(right.verb)
    # Resources with the same verbs share a rule, as people write them.
    shared: dict[tuple[str, tuple[str, ...]], list[str]] = collections.defaultdict(list)
    for (group, resource), used in verbs.items():
        shared[group, tuple(sorted(used))].append(resource)
    rules = [
        {"apiGroups": [group], "resources": sorted(resources), "verbs": list(used)}
        for (group, used), resources in sorted(shared.items(), key=lambda item: (item[0][0], sorted(item[1])))
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }


def read(path: pathlib.Path) -> set[Right]:
    """The rights that a page has already."""
    if not path.exists():
        return set()
    items = yaml.safe_load(path.read_text(encoding="utf-8"))["items"]
    viewer = {key for item in items if item["metadata"]["name"] == "wide-ep-viewer" for key in _keys(item)}
    return {
        Right(item["metadata"]["name"], *key, key in viewer or item["metadata"]["name"] == "wide-ep-platform")
        for item in items
        if item["metadata"]["name"] != "wide-ep-viewer"
        for key in _keys(item)
    }


def _keys(item: Mapping[str, t.Any]) -> list[tuple[str, str, str]]:
    return [
        (group, resource, verb)
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def page(found: Iterable[Right]) -> str:
    document = {"apiVersion": "v1", "kind": "List", "items": roles(found)}
    return HEAD + yaml.dump(document, Dumper=Indented, sort_keys=False, default_flow_style=False, width=120)


class Indented(yaml.SafeDumper):
    """Lists stand below their key, and short ones on its line, as in the project's other files."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)


def represent_list(dumper: yaml.SafeDumper, data: list[t.Any]) -> yaml.Node:
    flat = all(isinstance(item, str) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)


Indented.add_representer(list, represent_list)


def unlisted(used: Iterable[Right], listed: Iterable[Right]) -> list[str]:
    """Rights that were used and are not on the page."""
    known = {right[:4] for right in listed}
    return sorted({" ".join(filter(None, right[:4])) for right in used if right[:4] not in known})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=re.sub(r"``", "", __doc__ or ""))
    parser.add_argument("logs", nargs="+", type=pathlib.Path, help="audit logs of the API server")
    parser.add_argument("--page", type=pathlib.Path, default=PAGE, help="the page, docs/reference/rbac.yaml")
    parser.add_argument("--replace", action="store_true", help="forget what the page has")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page lacks a right")
    given = parser.parse_args(arguments)
    used: set[Right] = set()
    for log in given.logs:
        with log.open(encoding="utf-8") as lines:
            used |= rights(line for line in lines if line.endswith("\n"))
    if not used:
        print("the logs hold no request of ours", file=sys.stderr)
        return 2
    listed = set() if given.replace else read(given.page)
    if given.check:
        missing = unlisted(used, listed)
        for line in missing:
            print(f"{line} is used and not listed: run tools/rbac.py with the audit log")
        return 1 if missing else 0
    given.page.write_text(page(used | listed), encoding="utf-8")
    print(f"{given.page}: {len(used | listed)} rights, {len(unlisted(used, listed))} of them new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
