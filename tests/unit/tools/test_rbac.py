# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from loading import load_file

rbac = load_file(Path(__file__).resolve().parents[3] / "tools" / "rbac.py", "tools_rbac")


def event(verb: str, resource: str, **more: t.Any) -> str:
    given = {
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": more.pop("user", "llmd-deployer")},
        "objectRef": {
            "resource": resource,
            "apiGroup": more.pop("group", ""),
            **more.pop("target", {"namespace": "llm-d-wide-ep"}),
        },
    }
    return json.dumps({**given, **more}) + "\n"


LOG = [
    event("create", "pods"),
    event("get", "pods"),
    event("get", "pods", target={"namespace": "llm-d-wide-ep", "subresource": "log"}),
    event("list", "pods", target={}),
    event("get", "namespaces", target={"namespace": "llm-d-wide-ep", "name": "llm-d-wide-ep"}),
    event("patch", "deployments", group="apps"),
    event("patch", "nodes", user="llmd-platform", target={"name": "gpu-0"}),
]


def test_rights_of_a_log() -> None:
    assert {right[:4] for right in rbac.rights(LOG)} == {
        ("wide-ep-deployer", "", "pods", "create"),
        ("wide-ep-deployer", "", "pods", "get"),
        ("wide-ep-deployer", "", "pods/log", "get"),
        ("wide-ep-deployer", "apps", "deployments", "patch"),
        ("wide-ep-deployer-cluster", "", "pods", "list"),
        ("wide-ep-deployer-cluster", "", "namespaces", "get"),
        ("wide-ep-platform", "", "nodes", "patch"),
    }


def test_what_the_server_asks_for_besides() -> None:
    """Neither verb is in any audit log, and a run without them is refused."""
    lines = [
        event("create", "roles", group="rbac.authorization.k8s.io"),
        event("get", "pods", target={"namespace": "llm-d-wide-ep", "subresource": "exec"}),
        event("list", "clusterroles", group="rbac.authorization.k8s.io", user="llmd-platform", target={}),
    ]
    found = {(right.resource, right.verb) for right in rbac.rights(lines)}
    roles = {("roles", "create"), ("roles", "bind"), ("roles", "escalate")}
    assert found == {*roles, ("pods/exec", "get"), ("pods/exec", "create"), ("clusterroles", "list")}


@pytest.mark.parametrize(("code", "verbs"), [(201, {"create", "patch"}), (200, {"patch"})])
def test_an_apply_that_makes_its_object_creates(code: int, verbs: set[str]) -> None:
    line = event("patch", "configmaps", responseStatus={"code": code})
    assert {right.verb for right in rbac.rights([line])} == verbs


def test_another_namespace_is_outside() -> None:
    line = event("list", "endpointslices", group="discovery.k8s.io", target={"namespace": "kube-system"})
    asked = ("discovery.k8s.io", "endpointslices", "list")
    assert rbac.rights([line]) == {("wide-ep-deployer-cluster", *asked, True)}
    assert rbac.rights([line], "kube-system") == {("wide-ep-deployer", *asked, False)}


@pytest.mark.parametrize(
    "line",
    [
        event("get", "pods", user="system:admin"),
        event("get", "pods", stage="RequestReceived"),
        event("create", "selfsubjectaccessreviews", target={}),
        event("get", "pods", annotations={"authorization.k8s.io/decision": "forbid"}),
        event("get", ""),
    ],
)
def test_what_needs_no_right(line: str) -> None:
    assert rbac.rights([line]) == set()


def test_page_has_three_roles_and_reads_back(tmp_path: Path) -> None:
    page = tmp_path / "rbac.yaml"
    found = rbac.rights(LOG)
    page.write_text(rbac.page(found))
    roles = {item["metadata"]["name"]: item["rules"] for item in yaml.safe_load(page.read_text())["items"]}
    assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get"]} in roles["wide-ep-deployer"]
    assert roles["wide-ep-deployer-cluster"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    assert roles["wide-ep-platform"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}]
    assert rbac.read(page) == found


def test_check_names_what_is_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, page = tmp_path / "audit.log", tmp_path / "rbac.yaml"
    log.write_text("".join(LOG[:2]))
    assert rbac.main([str(log), "--page", str(page)]) == 0
    assert rbac.main([str(log), "--page", str(page), "--check"]) == 0
    log.write_text("".join(LOG))
    assert rbac.main([str(log), "--page", str(page), "--check"]) == 1
    assert "wide-ep-deployer pods/log get is used and not listed" in capsys.readouterr().out
    assert rbac.main([str(log), "--page", str(page)]) == 0
    assert rbac.main([str(log), "--page", str(page), "--check"]) == 0


def test_a_run_in_another_namespace_uses_the_role_that_is_bound_there(tmp_path: Path) -> None:
    log, page = tmp_path / "audit.log", tmp_path / "rbac.yaml"
    log.write_text("".join(LOG))
    assert rbac.main([str(log), "--page", str(page)]) == 0
    log.write_text(event("get", "pods", target={"namespace": "other"}))
    assert rbac.main([str(log), "--page", str(page), "--check"]) == 0
    log.write_text(event("watch", "pods", target={"namespace": "other"}))
    assert rbac.main([str(log), "--page", str(page), "--check"]) == 1


def test_an_empty_log_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_text("")
    assert rbac.main([str(tmp_path / "audit.log"), "--check"]) == 2
