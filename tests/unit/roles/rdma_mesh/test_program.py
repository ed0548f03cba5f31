# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program as a whole: what it is made of, and that images of model servers can run it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_program import program_files, version_of

PROGRAM = Path(__file__).parents[4] / "roles" / "rdma_mesh" / "files" / "prober"
FILES = program_files(PROGRAM)
#: Of Python 3.10 and later, as keywords or attributes.
NEWER = {"strict", "slots", "kw_only", "bit_count", "pairwise", "StrEnum", "UTC"}


@pytest.mark.parametrize("name", FILES)
def test_it_runs_on_python_3_9_with_the_standard_library(name: str) -> None:
    tree = ast.parse(FILES[name], feature_version=(3, 9))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]
    used = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & NEWER
    known = set(sys.stdlib_module_names) | {path.removesuffix(".py") for path in FILES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= known
        elif isinstance(node, ast.ImportFrom):
            assert str(node.module).partition(".")[0] in known


def test_annotations_that_run_are_of_python_3_9() -> None:
    """Aliases are evaluated, whatever the future import says: X | Y between types came with 3.10."""
    for name, text in FILES.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                unions = [part for part in ast.walk(node.value) if isinstance(part, ast.BinOp)]
                assert not unions, f"{name}: line {node.lineno}"


def test_its_version_is_that_of_its_files() -> None:
    assert version_of(FILES) == version_of(dict(reversed(FILES.items())))
    assert version_of(FILES) != version_of({**FILES, "mesh_prober.py": ""})


def test_it_fits_a_config_map() -> None:
    assert sum(map(len, FILES.values())) < 500_000


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no mesh_prober"):
        program_files(tmp_path)
