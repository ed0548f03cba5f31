# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest

from .conftest import load

DOCUMENT: dict[str, Any] = {
    "id": "demo:v1",
    "name": "demo",
    "version": "v1",
    "revision": "20260101",
    "rootUrl": "https://demo.example/",
    "servicePath": "",
    "parameters": {"alt": {"type": "string", "location": "query", "description": "long"}},
    "resources": {
        "things": {
            "methods": {
                "get": {
                    "id": "demo.things.get",
                    "httpMethod": "GET",
                    "path": "things/{name}",
                    "response": {"$ref": "Thing"},
                },
                "list": {"id": "demo.things.list", "httpMethod": "GET", "path": "things"},
            }
        }
    },
    "schemas": {
        "Thing": {
            "type": "object",
            "properties": {
                "made": {"type": "string", "description": "[Output Only] When."},
                "seen": {"type": "string", "readOnly": True},
                "zone": {"type": "string", "description": "Immutable. Where."},
                "parts": {"type": "array", "items": {"$ref": "Part"}},
            },
        },
        "Part": {"type": "object", "properties": {"size": {"type": "string", "format": "int64", "description": "x"}}},
        "Unused": {"type": "object"},
    },
}


@pytest.fixture(scope="module")
def tool() -> types.ModuleType:
    return load("trim_discovery")


def test_keeps_what_the_methods_reach(tool: types.ModuleType) -> None:
    kept = tool.trimmed(DOCUMENT, ["things.get"])
    assert list(kept["methods"]) == ["things.get"]
    assert set(kept["schemas"]) == {"Thing", "Part"}
    assert kept["schemas"]["Thing"]["properties"] == {
        "made": {"type": "string", "readOnly": True},
        "seen": {"type": "string", "readOnly": True},
        "zone": {"type": "string", "immutable": True},
        "parts": {"type": "array", "items": {"$ref": "Part"}},
    }
    assert kept["parameters"] == {"alt": {"type": "string", "location": "query"}}


def test_missing_method_is_named(tool: types.ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"revision 20260101 lacks: things\.drop"):
        tool.trimmed(DOCUMENT, ["things.drop"])


def test_writes_once_and_checks(tool: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "google_api_python_client-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(tool.WITHIN_WHEEL.format(name="demo.v1"), json.dumps(DOCUMENT))
    monkeypatch.setattr(tool, "OUTPUT", tmp_path)
    monkeypatch.setattr(tool, "METHODS", {"demo.v1": ("things.get",)})
    monkeypatch.setattr(sys, "argv", ["trim_discovery.py", str(wheel), "--check"])
    assert tool.main() == 1
    monkeypatch.setattr(sys, "argv", ["trim_discovery.py", str(wheel)])
    assert tool.main() == 0
    assert json.loads((tmp_path / "demo.v1.json").read_text())["revision"] == "20260101"
    note = (tmp_path / "README.md").read_text()
    assert "google-api-python-client 9.9.9" in note
    assert "Apache License 2.0" in note
    monkeypatch.setattr(sys, "argv", ["trim_discovery.py", str(wheel), "--check"])
    assert tool.main() == 0
