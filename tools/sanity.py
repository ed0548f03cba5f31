# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` on a copy of this checkout's files.

ansible-test resolves links and insists on a folder named ansible_collections/llmd/wide_ep, hence the copy. It makes its
own environments from its own pins; here they are made from the packages of requirements/sanity-<lane>.txt, whose hashes
were checked when they were downloaded, and from nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from _paths import ROOT, cache_root

LANE = "py311" if sys.version_info < (3, 12) else "py312"
LOCK = ROOT / "requirements" / f"sanity-{LANE}.txt"
# ansible-test downloads pip's installer from its own host; Python carries a pip that does.
GET_PIP = "import ensurepip\n\nensurepip.bootstrap()\n"
PIP_PIN = re.compile(r"pip='(?P<version>[0-9.]+)'")


def own_files(root: Path) -> list[str]:
    """Return the files that git tracks or would track."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return sorted(name for name in listed.split("\0") if name and (root / name).is_file())


def copy_files(root: Path, target: Path) -> int:
    """Copy the checkout's own files and return their number."""
    names = own_files(root)
    for name in names:
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, destination)
    return len(names)


def pinned_pip() -> str:
    """Return the version of pip that this ansible-test asks for."""
    prefix = Path(sys.prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
    source = prefix / "ansible_test" / "_internal" / "python_requirements.py"
    match = PIP_PIN.search(source.read_text(encoding="utf-8"))
    if match is None:
        raise SystemExit(f"sanity: {source} names no version of pip")
    return match["version"]


def prepare_home(home: Path) -> None:
    """Make ansible-test's home with its packages."""
    packages = home / "packages"
    marker = packages / ".complete"
    if not marker.exists():
        shutil.rmtree(packages, ignore_errors=True)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*download, "--dest", str(packages), "--requirement", str(LOCK)], check=True)
        marker.touch()
    script = home / ".ansible" / "test" / "cache" / f"get_pip_{pinned_pip().replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(GET_PIP, encoding="utf-8")
    # A file, because ansible-test passes HOME on to pip but no variable of pip.
    configuration = home / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(f"[global]\nno-index = true\nfind-links = {packages}\n", encoding="utf-8")


def environment(home: Path) -> dict[str, str]:
    """Return the environment in which ansible-test finds this interpreter and that home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PIP_"))}
    path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath)))
    return {**kept, "HOME": str(home), "PATH": path}


@contextlib.contextmanager
def locked_home() -> Iterator[Path]:
    """Yield ansible-test's home for this lane's packages and interpreter; one run at a time."""
    key = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache_root() / "sanity" / f"{LANE}-{key}"
    home.mkdir(parents=True, exist_ok=True)
    with open(home / ".lock", "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield home


def main() -> int:
    """Copy, prepare, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", help="passed to ansible-test sanity, after --")
    arguments = parser.parse_args().arguments
    with locked_home() as home, tempfile.TemporaryDirectory(prefix="llmd-wide-ep-sanity-") as folder:
        collection = Path(folder, "ansible_collections", "llmd", "wide_ep")
        print(f"sanity: {copy_files(ROOT, collection)} files", flush=True)
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        command = ["ansible-test", "sanity", "--color", "no", "--truncate", "0", "--python", python, *arguments]
        prepare_home(home)
        return subprocess.run(command, cwd=collection, env=environment(home), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
