# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready-made images in the registry of a rehearsal cluster. Private to the collection; it may change at any time.

The builder's registry folder is never written to: it is copied, by hard links, into a folder beside it whose name says
what was added, and the images are pushed there through a registry of our own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._image import parse_image

START_SECONDS = 15.0
LAYOUT_INDEX = "index.json"
SERVING = re.compile(r"serving \d+ manifests of .* on (\S+)\n")


class ImagesError(Exception):
    """An image could not be added."""


@dataclasses.dataclass(frozen=True)
class Extra:
    """An image by its full name, and the archive or OCI layout that holds it."""

    name: str
    path: pathlib.Path

    @property
    def targets(self) -> tuple[str, str]:
        """Its names there: without a host, as containerd asks a mirror, and with it, as under wide_ep_mirror."""
        return self.name.partition("/")[2], self.name


def judge(extra: Extra) -> list[Finding]:
    """What is wrong with an image before anything is made of it."""
    try:
        problem = "" if parse_image(extra.name).tag else f"{extra.name} has no tag"
    except ValueError as error:
        problem = str(error)
    if problem:
        fix = "Write its name as registry/repository:tag, as the deployment asks for it."
        return [Finding("REHEARSAL_IMAGE", "error", "rehearsal_cluster_extra_images", problem, fix)]
    held = extra.path / LAYOUT_INDEX if extra.path.is_dir() else extra.path
    if held.is_file():
        return []
    fix = "Give the path of an archive (docker save, crane pull) or of the folder of an OCI image layout."
    return [Finding("REHEARSAL_IMAGE", "error", extra.name, f"{held} does not exist", fix)]


def digest_of(path: pathlib.Path) -> str:
    """A hash of the content: the index of a layout names everything in it by hash."""
    with (path / LAYOUT_INDEX if path.is_dir() else path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_name(base: str, digests: t.Mapping[str, str]) -> str:
    """The registry's folder for a base and the images by name."""
    total = hashlib.sha256("\n".join(f"{name} {value}" for name, value in sorted(digests.items())).encode())
    return f"{base}-{total.hexdigest()[:12]}"


def copy_linked(source: pathlib.Path, target: pathlib.Path) -> None:
    """The registry replaces files and never writes into one, so the copy shares them with its source."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=link)


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> t.Iterator[None]:
    """One at a time: runs with the same images make the same folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def serving(program: pathlib.Path, folder: pathlib.Path) -> t.Iterator[str]:
    """Run the registry on a free loopback port; gives its address."""
    command = [str(program), "--address", "127.0.0.1:0", "--disk", str(folder), "--writable"]
    with tempfile.NamedTemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield _address(process, pathlib.Path(output.name))
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], output: pathlib.Path) -> str:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        if found := SERVING.search(output.read_text(errors="replace")):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise ImagesError(f"the registry did not start: {output.read_text(errors='replace')}")


def push(crane: pathlib.Path, address: str, extra: Extra) -> None:
    """Push one image under its names, with no credentials and no settings of the user."""
    with tempfile.TemporaryDirectory() as home:
        env = {"DOCKER_CONFIG": home, "HOME": home, "PATH": "/usr/bin:/bin"}
        for target in extra.targets:
            command = [str(crane), "push", str(extra.path), f"{address}/{target}"]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
                raise ImagesError(f"crane cannot push {extra.path} as {extra.name}: {last}")


def make(
    folder: pathlib.Path,
    base: pathlib.Path,
    extras: t.Sequence[Extra],
    *,
    crane: pathlib.Path,
    registry: pathlib.Path,
) -> bool:
    """Make the folder beside its base, unless it is there; whether it was made."""
    with locked(folder.parent):
        if folder.exists():
            return False
        fresh = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            copy_linked(base, fresh)
            with serving(registry, fresh) as address:
                for extra in extras:
                    push(crane, address, extra)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return True
