# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import types
import typing as t
from pathlib import Path

import pytest
from loading import load_file

SOURCE = Path(__file__).resolve().parents[3] / "tests" / "integration" / "site" / "audit.py"


@pytest.fixture(scope="module")
def audit() -> types.ModuleType:
    return load_file(SOURCE, "wide_ep_site_audit")


def line(verb: str, resource: str, name: str, **changes: t.Any) -> str:
    """An entry as the API server writes it at the level Metadata."""
    path = f"/api/v1/namespaces/llm-d-wide-ep/{resource}/{name}"
    target = {"resource": resource, "namespace": "llm-d-wide-ep", "name": name, "apiVersion": "v1"}
    if changes.get("subresource"):
        target["subresource"] = changes["subresource"]
    return json.dumps(
        {
            "kind": "Event",
            "stage": changes.get("stage", "ResponseComplete"),
            "requestURI": path + changes.get("query", ""),
            "verb": verb,
            "user": {"username": changes.get("user", "llmd-deployer")},
            "objectRef": target,
            "responseStatus": {"code": changes.get("code", 200)},
        }
    )


@pytest.mark.parametrize(
    ("entry", "counted"),
    [
        (line("patch", "secrets", "x"), True),
        (line("create", "secrets", "x", user="llmd-platform", code=201), True),
        (line("delete", "secrets", "x", query="?propagationPolicy=Background"), True),
        (line("get", "secrets", "x"), False),
        (line("patch", "secrets", "x", query="?dryRun=All&fieldManager=llmd.wide_ep"), False),
        (line("create", "secrets", "x", code=409), False),
        (line("patch", "secrets", "x", stage="RequestReceived"), False),
        (line("patch", "secrets", "x", user="system:serviceaccount:llmd-deployer:x"), False),
    ],
)
def test_what_counts_as_a_mutation(audit: types.ModuleType, entry: str, counted: bool) -> None:
    assert bool(audit.parse([entry])) == counted


@pytest.mark.parametrize(
    ("entry", "violates"),
    [
        (line("create", "selfsubjectaccessreviews", ""), False),
        (line("create", "pods", "wide-ep-lws-verify-0c447a"), False),
        (line("delete", "configmaps", "wide-ep-lws-verify-0c447a"), False),
        (line("update", "leases", "wide-ep-lws"), False),
        (line("patch", "secrets", "same"), False),
        (line("patch", "secrets", "changed"), True),
        (line("patch", "secrets", "made"), True),
        (line("patch", "secrets", "gone"), True),
        (line("update", "secrets", "same"), True),
        (line("create", "pods", "wide-ep-lws-verify-0c447a", subresource="exec"), True),
        (line("create", "pods", "other-verify-0c447a"), True),
        (line("delete", "leases", "other"), True),
    ],
)
def test_what_a_run_without_changes_may_do(audit: types.ModuleType, entry: str, violates: bool) -> None:
    folder = "/api/v1/namespaces/llm-d-wide-ep/secrets"
    before = {f"{folder}/same": "1", f"{folder}/changed": "1", f"{folder}/gone": "1"}
    after = {f"{folder}/same": "1", f"{folder}/changed": "2", f"{folder}/made": "1"}
    found = audit.violations(audit.parse([entry]), audit.allowed_for("wide-ep-lws"), before, after)
    assert bool(found) == violates
