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
# For wide_ep_kubeconfig: wide-ep-deployer by a RoleBinding in the deployment's namespace, wide-ep-deployer-cluster by a
# ClusterRoleBinding. For wide_ep_platform_kubeconfig: wide-ep-platform by a ClusterRoleBinding.
# Whoever makes the namespace for the deployer sets workspace_adopt_namespace=true.
"""
#: The rehearsal's identities and the roles that stand for them.
INSIDE = "wide-ep-deployer"
IDENTITIES = {"llmd-deployer": INSIDE, "llmd-platform": "wide-ep-platform"}
OUTSIDE = "wide-ep-deployer-cluster"
NAMESPACE = "llm-d-wide-ep"
CREATED = 201
#: What the server asks for beside what a request shows: whoever writes a role has to hold its rights or these verbs
#: (RBAC's escalation check), and from Kubernetes 1.35 on a command in a pod needs create, by whatever verb it comes
#: (kubernetes/enhancements #5254).
RBAC_GROUP = "rbac.authorization.k8s.io"
WRITES = frozenset({"create", "patch", "update"})
IMPLIED: dict[tuple[str, str], tuple[frozenset[str], tuple[str, ...]]] = {
    (RBAC_GROUP, "roles"): (WRITES, ("bind", "escalate")),
    (RBAC_GROUP, "clusterroles"): (WRITES, ("bind", "escalate")),
    ("", "pods/exec"): (frozenset({"get"}), ("create",)),
}
#: Everyone who is authenticated may ask these.
FREE = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"})


class Right(t.NamedTuple):
    """One verb on one resource, the role that it stands in, and whether a run asked for it in another namespace."""

    role: str
    group: str
    resource: str
    verb: str
    elsewhere: bool = False

    @property
    def written(self) -> Right:
        return self._replace(elsewhere=False)


def right_of(event: Mapping[str, t.Any], namespace: str) -> Right | None:
    """What an event of the audit log needed; None where nobody of ours asked or nothing was granted."""
    role = IDENTITIES.get((event.get("user") or {}).get("username", ""))
    target = event.get("objectRef") or {}
    refused = (event.get("annotations") or {}).get("authorization.k8s.io/decision") == "forbid"
    if role is None or refused or not target.get("resource") or target["resource"] in FREE:
        return None
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    # A RoleBinding in the namespace outlives neither its making nor its removal.
    inside = target.get("namespace") == namespace and target["resource"] != "namespaces"
    outside = role == INSIDE and not inside
    elsewhere = outside and target.get("namespace", "") not in ("", target.get("name"))
    return Right(OUTSIDE if outside else role, target.get("apiGroup", ""), resource, event["verb"], elsewhere)


def rights(lines: Iterable[str], namespace: str = NAMESPACE) -> set[Right]:
    found = set()
    for line in lines:
        if any(f'"{name}"' in line for name in IDENTITIES):
            event = json.loads(line)
            right = right_of(event, namespace) if event.get("stage") == "ResponseComplete" else None
            if right:
                found |= {right, *implied(right)}
                # An apply that made its object was allowed to create, which the server asks for in the same request.
                if right.verb == "patch" and (event.get("responseStatus") or {}).get("code") == CREATED:
                    found.add(right._replace(verb="create"))
    return found


def implied(right: Right) -> set[Right]:
    verbs, more = IMPLIED.get((right.group, right.resource), (frozenset(), ()))
    return {right._replace(verb=verb) for verb in more} if right.verb in verbs else set()


def roles(found: Iterable[Right]) -> list[dict[str, t.Any]]:
    """What the deployer uses in its namespace, what it uses outside of it, and what the platform uses."""
    every = set(found)
    names = (INSIDE, OUTSIDE, "wide-ep-platform")
    return [role(name, {right for right in every if right.role == name}) for name in names]


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
    return {Right(item["metadata"]["name"], *key) for item in items for key in _keys(item)}


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


def unlisted(used: Iterable[Right], listed: Iterable[Right]) -> set[Right]:
    """Rights that were used and are not on the page; a deployment may be in any namespace where the role is bound."""
    known = set(listed)
    return {
        right.written
        for right in used
        if right.written not in known and not (right.elsewhere and right.written._replace(role=INSIDE) in known)
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=re.sub(r"``", "", __doc__ or ""))
    parser.add_argument("logs", nargs="+", type=pathlib.Path, help="audit logs of the API server")
    parser.add_argument("--page", type=pathlib.Path, default=PAGE, help="the page, docs/reference/rbac.yaml")
    parser.add_argument("--namespace", default=NAMESPACE, help="where the deployment was")
    parser.add_argument("--replace", action="store_true", help="forget what the page has")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page lacks a right")
    given = parser.parse_args(arguments)
    used: set[Right] = set()
    for log in given.logs:
        with log.open(encoding="utf-8") as lines:
            used |= rights((line for line in lines if line.endswith("\n")), given.namespace)
    if not used:
        print("the logs hold no request of ours", file=sys.stderr)
        return 2
    listed = set() if given.replace else read(given.page)
    missing = unlisted(used, listed)
    if given.check:
        for right in sorted(missing):
            print(f"{' '.join(filter(None, right[:4]))} is used and not listed: run tools/rbac.py with the audit log")
        return 1 if missing else 0
    given.page.write_text(page(listed | missing), encoding="utf-8")
    print(f"{given.page}: {len(listed | missing)} rights, {len(missing)} of them new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
