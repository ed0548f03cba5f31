# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities that have what docs/reference/rbac.yaml lists and nothing else, bound as its head says."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator
from pathlib import Path

import yaml
from harness import NAMESPACE, ROOT, admin, deployer_kubeconfig

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client

PAGE = ROOT / "docs" / "reference" / "rbac.yaml"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
DEPLOYER, OUTSIDE, PLATFORM = "wide-ep-deployer", "wide-ep-deployer-cluster", "wide-ep-platform"
#: Role -> account that has it, and the namespace in which it is bound.
BINDINGS = {DEPLOYER: (DEPLOYER, NAMESPACE), OUTSIDE: (DEPLOYER, ""), PLATFORM: (PLATFORM, "")}

Json = dict[str, t.Any]


def roles() -> list[Json]:
    items: list[Json] = yaml.safe_load(PAGE.read_text(encoding="utf-8"))["items"]
    return items


def without(items: list[Json], role: str, resource: str, verb: str) -> list[Json]:
    """The roles, one of them without a verb."""
    found = yaml.safe_load(yaml.safe_dump(items))
    (changed,) = [item for item in found if item["metadata"]["name"] == role]
    for rule in list(changed["rules"]):
        if resource in rule["resources"] and verb in rule["verbs"]:
            rule["resources"].remove(resource)
            verbs = [other for other in rule["verbs"] if other != verb]
            changed["rules"].append({**rule, "resources": [resource], "verbs": verbs})
    changed["rules"] = [rule for rule in changed["rules"] if rule["resources"] and rule["verbs"]]
    return t.cast("list[Json]", found)


def binding(role: str) -> tuple[str, Json]:
    account, namespace = BINDINGS[role]
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    place = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    return place, {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
    }


def write_roles(client: Client, items: list[Json]) -> None:
    for item in items:
        client.apply(f"{RBAC}/clusterroles/{item['metadata']['name']}", item, field_manager="site-test", force=True)


def kubeconfig(client: Client, account: str, folder: Path) -> Path:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = client.create(f"{ACCOUNTS}/{account}/token", request)["status"]["token"]
    config = yaml.safe_load(deployer_kubeconfig().read_text())
    for entry in config["users"]:
        entry["user"] = {"token": token}
    path = folder / f"{account}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def identities(folder: Path) -> Iterator[dict[str, str]]:
    """The variables of a run as these identities; the namespace is made for them, because the binding is in it."""
    client = admin()
    level = {"pod-security.kubernetes.io/enforce": "privileged"}
    client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": level}})
    try:
        write_roles(client, roles())
        for account in (DEPLOYER, PLATFORM):
            client.create(ACCOUNTS, {"metadata": {"name": account}})
        for role in BINDINGS:
            client.create(*binding(role))
        yield {
            "wide_ep_kubeconfig": str(kubeconfig(client, DEPLOYER, folder)),
            "wide_ep_platform_kubeconfig": str(kubeconfig(client, PLATFORM, folder)),
        }
    finally:
        remove(client)


def remove(client: Client) -> None:
    made = [f"{place}/{item['metadata']['name']}" for place, item in map(binding, BINDINGS)]
    made += [f"{RBAC}/clusterroles/{role}" for role in BINDINGS]
    made += [f"{ACCOUNTS}/{account}" for account in (DEPLOYER, PLATFORM)]
    for path in (*made, f"/api/v1/namespaces/{NAMESPACE}"):
        if client.get_or_none(path):
            client.delete(path)
