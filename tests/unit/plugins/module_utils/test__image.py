# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _image

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("ghcr.io/llm-d/epp:v0.9.0", ("ghcr.io", "llm-d/epp", "v0.9.0", "")),
        ("10.0.0.1:5000/ghcr.io/llm-d/epp:v1", ("10.0.0.1:5000", "ghcr.io/llm-d/epp", "v1", "")),
        (f"ghcr.io/llm-d/epp@{DIGEST}", ("ghcr.io", "llm-d/epp", "", DIGEST)),
        (f"ghcr.io/llm-d/epp:v1@{DIGEST}", ("ghcr.io", "llm-d/epp", "v1", DIGEST)),
    ],
)
def test_parts(reference: str, parts: tuple[str, str, str, str]) -> None:
    assert _image.parse_image(reference) == _image.Image(*parts)


@pytest.mark.parametrize(
    "reference", ["", "epp", "ghcr.io/llm-d/epp", "ghcr.io/EPP:v1", "ghcr.io/epp@sha256:00", "a b/c:d"]
)
def test_what_moves_or_is_no_reference_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="no full image reference"):
        _image.parse_image(reference)


HOSTS = st.sampled_from(["ghcr.io", "docker.io", "10.0.0.1:5000", "registry-1.example.com:443"])
PATHS = st.from_regex(r"[a-z0-9]+([-/][a-z0-9]+)*", fullmatch=True)
ENDS = st.from_regex(r":[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", fullmatch=True) | st.just(f"@{DIGEST}")


@settings(max_examples=50, deadline=None)
@given(HOSTS, PATHS, ENDS)
def test_glued_chart_values_are_the_reference(host: str, path: str, end: str) -> None:
    values = _image.parse_image(f"{host}/{path}{end}").as_chart_values()
    assert "{registry}/{repository}:{tag}".format(**values) == f"{host}/{path}{end}"
