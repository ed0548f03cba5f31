# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_releases import release_findings, version_of

VARIABLES = yaml.safe_load((Path(__file__).parents[4] / "roles/model_server/vars/main.yml").read_text(encoding="utf-8"))
RELEASES = VARIABLES["_model_server_releases"]
DIGEST = "@sha256:" + "0a" * 32
UNKNOWN = "neither its name nor its tag says which release it is"


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v0.7.0", (0, 7, 0)),
        ("v0.7.0-rc.2", (0, 7, 0)),
        ("0.19.1-x86_64-cu130", (0, 19, 1)),
        ("latest", None),
        ("", None),
        ("v0.7", None),
        ("sha-0.7.0", None),
    ],
)
def test_version_of(tag: str, version: tuple[int, ...] | None) -> None:
    assert version_of(tag) == version


# Kind, image, mode, and what is wrong with it.
CASES: list[tuple[str, str, str, str]] = [
    ("vllm", "ghcr.io/llm-d/llm-d-cuda:v0.7.0", "hybrid", ""),
    ("vllm", "ghcr.io/llm-d/llm-d-cuda:v0.7.0", "multi_port", "does not work with wide_ep_load_balancing=multi_port"),
    ("vllm", "ghcr.io/llm-d/llm-d-cuda:v0.8.1", "multi_port", ""),
    ("vllm", f"r.example.com/mine/llm-d-cuda:v0.8.1{DIGEST}", "multi_port", ""),
    ("vllm", f"ghcr.io/llm-d/llm-d-cuda{DIGEST}", "multi_port", UNKNOWN),
    ("vllm", "ghcr.io/llm-d/llm-d-cuda:latest", "hybrid", UNKNOWN),
    ("vllm", "ghcr.io/llm-d/llm-d-cuda:v0.6.0", "hybrid", "does not work with wide_ep_load_balancing=hybrid"),
    ("vllm", "r.example.com/mine/vllm:v9.9.9", "hybrid", UNKNOWN),
    ("vllm", "ghcr.io/llm-d/llm-d-cuda-gb200:v0.7.0", "hybrid", ""),
    ("vllm", "ghcr.io/llm-d/llm-d-cuda-gb200:v0.9.0", "multi_port", "no release of llm-d-cuda-gb200 is known"),
    ("vllm", "docker.io/vllm/vllm-openai:v0.19.1-x86_64-cu130", "hybrid", ""),
    ("vllm", "docker.io/vllm/vllm-openai:v0.19.1", "multi_port", "does not work"),
    ("vllm", "docker.io/vllm/vllm-openai:v0.22.1", "multi_port", ""),
    ("vllm", "docker.io/vllm/vllm-openai:v0.23.0", "multi_port", "does not work"),
    ("vllm", "docker.io/vllm/vllm-openai:v0.24.0", "multi_port", "does not work"),
    ("vllm", "docker.io/vllm/vllm-openai:v0.24.1", "multi_port", ""),
    ("sidecar", "ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1", "multi_port", ""),
    ("sidecar", "ghcr.io/llm-d/llm-d-routing-sidecar:v0.6.0", "hybrid", "does not work"),
    ("sidecar", "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.9.0", "hybrid", ""),
    ("vllm", "no image", "hybrid", ""),
]


@pytest.mark.parametrize(("kind", "image", "mode", "seen"), CASES, ids=[f"{case[1]} {case[2]}" for case in CASES])
def test_release_findings(kind: str, image: str, mode: str, seen: str) -> None:
    findings = release_findings("wide_ep_image_overrides.vllm", image, mode, RELEASES[kind])
    assert [finding.code for finding in findings] == (["IMAGE_UNFIT"] if seen else [])
    assert not seen or (seen in findings[0].evidence and image in findings[0].evidence)


def test_the_fix_names_what_works() -> None:
    (finding,) = release_findings("x", "ghcr.io/llm-d/llm-d-cuda:v0.7.0", "multi_port", RELEASES["vllm"])
    assert "llm-d-cuda since v0.8.1, vllm-openai since v0.22.0 without v0.23.0 to v0.24.0" in finding.fix
    assert "gb200" not in finding.fix


def test_hardware_refuses_an_image_by_its_name() -> None:
    image = "docker.io/vllm/vllm-openai:v0.22.1"
    (finding,) = release_findings("x", image, "multi_port", RELEASES["vllm"], ["vllm-openai"])
    assert "RoCE" in finding.evidence
