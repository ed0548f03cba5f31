# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection from the checkout's own files, with its bill of materials and checksums, into dist/."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import sanity
import sbom
from _paths import ROOT


def build(output: Path) -> Path:
    """Build the archive; files that git does not know stay out of it."""
    with tempfile.TemporaryDirectory() as name:
        sources = Path(name)
        sanity.copy_files(ROOT, sources)
        program = str(Path(sys.executable).parent / "ansible-galaxy")
        subprocess.run([program, "collection", "build", "--output-path", str(output)], cwd=sources, check=True)
    (archive,) = output.glob("*.tar.gz")
    return archive


def release(output: Path) -> list[Path]:
    """Write the archive, the bill of materials and the checksums of both."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    archive = build(output)
    bill = output / archive.name.replace(".tar.gz", ".cdx.json")
    bill.write_text(sbom.document(ROOT), encoding="utf-8")
    sums = output / "SHA256SUMS"
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in (bill, archive)]
    sums.write_text("".join(lines), encoding="utf-8")
    return [archive, bill, sums]


if __name__ == "__main__":
    for written in release(ROOT / "dist"):
        print(written.relative_to(ROOT))
