# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_forms import FORMS, form_findings

DIGEST = "sha256:" + "0a" * 32
FITTING: dict[str, list[Any]] = {
    "image": ["ghcr.io/llm-d/llm-d-cuda:v0.7.0", f"r.example.com:5000/x@{DIGEST}", f"r.example.com/x:v1@{DIGEST}"],
    "name": ["deepseek-r1", "a.b"],
    "optional name": ["", "gpu-critical"],
    "references": [[], [{"name": "registry-credentials"}]],
    "labels": [{}, {"gpu.nvidia.com/model": "H200", "a": ""}],
    "tolerations": [
        [],
        [{"operator": "Exists"}],
        [{"key": "a/b", "operator": "Exists", "effect": "NoSchedule"}],
        [{"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}],
    ],
    "optional quantity": ["", "16Gi", "1.5G", 1024],
    "cache": ["", "emptyDir", "/mnt/local/hf-cache/"],
    "served names": [[], ["r1", "deepseek-ai/DeepSeek-R1"]],
    "positive": [1, "256", 2.5],
    "not negative": [0, 63000000000],
    "share": [0.8, "0.9", 1],
}
REFUSED: dict[str, list[Any]] = {
    "image": ["llm-d-cuda:v0.7.0", "ghcr.io/llm-d/llm-d-cuda", "r.io/x@sha256:abc", f"r.io/x@{DIGEST}0", "r.io/x:a b"],
    "name": ["", "Deep Seek", "-a", "a_b", None, "a" * 254],
    "optional name": ["a;b"],
    "references": ["registry", [{"name": "A"}], [{"name": "a", "key": "b"}], ["a"]],
    "labels": [{"a": True}, {"a b": "c"}, {"/a": "b"}, {"a": "x y"}, {"a": 1}, []],
    "tolerations": [[{"key": "a", "operator": "equal"}], [{"operator": "Equal"}], [{"key": "a", "colour": "red"}], "a"],
    "optional quantity": ["16 Gi", "lots", "-1Gi", "16GB"],
    "cache": ["mnt", "/a/../b", "/a b", "/a;reboot", "/..", "/$(x)", "hostPath"],
    "served names": [["--port"], "r1", ["a\nb"]],
    "positive": [0, -1, "x", None],
    "not negative": [-1, "x"],
    "share": [0, 1.5, "x"],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    assert form_findings([("variable", form, value) for value in FITTING[form]]) == []
    assert [finding.evidence for finding in form_findings([("variable", form, value) for value in REFUSED[form]])] == [
        f"{value!r} cannot be used" for value in REFUSED[form]
    ]


@pytest.mark.parametrize(
    ("form", "value", "code"),
    [
        ("image", "x", "IMAGE_UNFIT"),
        ("optional name", "A", "INPUT_NAME"),
        ("served names", "A", "INPUT_TYPE"),
        ("share", 2, "INPUT_TYPE"),
    ],
)
def test_codes(form: str, value: Any, code: str) -> None:
    (finding,) = form_findings([("variable", form, value)])
    assert (finding.code, finding.subject, finding.severity) == (code, "variable", "error")
