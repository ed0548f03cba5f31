# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write go.work, go.work.sum and each family's go.mod and modules.lock from the table of families.

Run it after a change of the table, with Go and the module proxy reachable, and commit what it wrote. `modules.lock`
names the modules, with version and checksum, that a family's programs really compile in: it is what a family's cache
key is made of, so that a new family does not rebuild the others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from builder.families import FAMILIES, GO_LANGUAGE, KUBERNETES, STAGING, Family
from builder.gotool import ALONE_FLAGS
from builder.programs import LOCK_TEMPLATE


def go(*arguments: str, workspace: bool, mod: Path | None = None) -> str:
    """Run go in the workspace, or outside of any, there with a copy of a go.mod if one is given."""
    env = {**os.environ, "GOWORK": str(HERE / "go.work") if workspace else "off", "GOTOOLCHAIN": "local"}
    env |= {"GOFLAGS": " ".join(ALONE_FLAGS) if mod else "", "CGO_ENABLED": "0"}
    with tempfile.TemporaryDirectory() as empty:
        folder = HERE if workspace else empty
        if mod:
            shutil.copy(mod, empty)
        done = subprocess.run(["go", *arguments], check=False, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"go {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def block(keyword: str, lines: Sequence[str]) -> str:
    """Render a block of a go.mod or go.work file."""
    return keyword + " (\n" + "".join(f"\t{line}\n" for line in lines) + ")\n"


def staging_modules() -> list[str]:
    """Read the modules that Kubernetes replaces with its own staging folders."""
    mod = json.loads(go("mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}", workspace=False))["GoMod"]
    return re.findall(r"^\s*(k8s\.io/\S+) => \./staging", Path(mod).read_text(), re.M)


def seeded_sums() -> list[str]:
    """Read the checksums that only a module's own go.sum has."""
    lines = []
    for row in FAMILIES:
        for module, wanted in row.seed_sums:
            folder = json.loads(go("mod", "download", "-json", module, workspace=False))["Dir"]
            lines += [line for line in (Path(folder) / "go.sum").read_text().splitlines() if line.startswith(wanted)]
    return lines


def write_mod(row: Family) -> None:
    """Write a family's go.mod."""
    folder = HERE / row.name
    folder.mkdir(exist_ok=True)
    tools = [program.package for program in row.programs if not program.package.startswith("rehearsal/")]
    text = f"module rehearsal/{row.name}\n\ngo {GO_LANGUAGE}\n\n{block('require', row.requires)}"
    (folder / "go.mod").write_text(text + (f"\n{block('tool', tools)}" if tools else ""))


def write_lock(row: Family) -> None:
    """Write the modules that a family's programs compile in."""
    where = {"workspace": False, "mod": HERE / row.name / "go.mod"} if row.alone else {"workspace": True}
    listed = go("list", "-deps", "-f", LOCK_TEMPLATE, *[p.package for p in row.programs], **where)
    lines = sorted({line.strip() for line in listed.splitlines() if line})
    (HERE / row.name / "modules.lock").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Write everything."""
    for row in FAMILIES:
        write_mod(row)
    uses = block("use", sorted(f"./{row.name}" for row in FAMILIES if not row.alone))
    replaces = block("replace", [f"{module} => {module} {STAGING}" for module in staging_modules()])
    (HERE / "go.work").write_text(f"go {GO_LANGUAGE}\n\n{uses}\n{replaces}")
    (HERE / "go.work.sum").write_text("".join(f"{line}\n" for line in seeded_sums()))
    go("list", "-m", "all", workspace=True)
    for row in FAMILIES:
        write_lock(row)


if __name__ == "__main__":
    main()
