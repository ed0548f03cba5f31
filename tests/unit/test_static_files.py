# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no file of the collection may hold, and what the built collection holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ._collection import ROOT, load, own_files

FILES = own_files()
PYTHON = [path for path in FILES if path.suffix == ".py" and path.stat().st_size]
HEADER = (
    "# Copyright: (c) 2026, llmd.wide_ep contributors",
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "# SPDX-License-Identifier: GPL-3.0-or-later",
)
# Recorded outputs keep what their programs wrote.
RECORDED = ROOT / "tests" / "data"
MACHINE = re.compile(r"(?<![\w./-])/(?:home|Users)/[a-z]|(?<![\w./:-])/root(?:/|\b)|(?<![\w./-])/work/")
SECRET = re.compile(r"hf_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----|eyJhbGciOi[\w-]{20,}")
PACKED = ("galaxy.yml", "README.md", "meta/runtime.yml", "playbooks/site.yml", "roles/wide_ep/tasks/main.yml")
UNPACKED = re.compile(
    r"^(\.ansible|\.venv|\.git|\.ci|\.config|tests|tools|molecule|artifacts)(/|$)|__pycache__|_cache/"
)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_python_files_have_the_header(path: Path) -> None:
    lines = [line for line in text_of(path).splitlines()[:5] if not line.startswith("#!")]
    assert tuple(lines[:3]) == HEADER
    assert "from __future__ import annotations" in text_of(path)


@pytest.mark.parametrize(
    "path", [path for path in PYTHON if re.match(r"plugins/(module|plugin)_utils/", relative(path))], ids=relative
)
def test_utilities_are_private(path: Path) -> None:
    if path.name != "__init__.py":
        assert path.name.startswith("_")
        assert re.search(r"[Pp]rivate to the\s+collection", text_of(path)), "the docstring says that it is private"


def test_no_file_names_a_place_on_somebody_s_machine() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in FILES
        if not path.is_relative_to(RECORDED) and path != Path(__file__)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


def test_no_file_holds_a_secret() -> None:
    assert [relative(path) for path in FILES if SECRET.search(text_of(path))] == []


def test_nothing_is_skipped_or_ignored() -> None:
    assert [relative(path) for path in FILES if re.search(r"tests/sanity/ignore-.*\.txt$", relative(path))] == []
    for path in FILES:
        if path.name in {".ansible-lint", "ansible-lint.yml", ".ansible-lint-ignore"}:
            config = load(path) or {}
            assert not config.get("skip_list"), relative(path)
            assert not config.get("warn_list"), relative(path)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("build")
    program = Path(sys.executable).parent / "ansible-galaxy"
    command = [str(program), "collection", "build", str(ROOT), "--output-path", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        return {member.name for member in archive.getmembers()}


def test_the_built_collection_has_what_users_need(packed: set[str]) -> None:
    sources = {relative(path) for path in FILES if re.match(r"(plugins|roles|playbooks)/", relative(path))}
    assert set(PACKED) - {"galaxy.yml"} | sources <= packed | {"galaxy.yml"}


def test_the_built_collection_has_nothing_else(packed: set[str]) -> None:
    assert sorted(name for name in packed if UNPACKED.search(name)) == []
