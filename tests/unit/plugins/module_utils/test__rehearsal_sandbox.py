# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the sandbox is recognized, and what a start depends on."""

from __future__ import annotations

import pathlib
import tarfile

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_sandbox as sandbox


@pytest.mark.parametrize(
    ("status", "expected"),
    [("Name:\tx\nNSpid:\t42\n", (1, 42)), ("NSpid:\t42\t1\n", (2, 1)), ("NSpid:\t42\t7\t1\n", (3, 1)), ("", (0, 0))],
)
def test_inner_pid(status: str, expected: tuple[int, int]) -> None:
    assert sandbox.inner_pid(status) == expected


def test_the_digest_follows_boot_files_programs_and_root(tmp_path: pathlib.Path) -> None:
    paths = sandbox.Paths(tmp_path)
    digests = {sandbox.digest_of(paths, {"etcd": "1"}, "r")}
    digests |= {sandbox.digest_of(paths, {"etcd": "2"}, "r"), sandbox.digest_of(paths, {"etcd": "1"}, "s")}
    for name in sandbox.BOOT_FILES:
        file = paths.cluster / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        digests.add(sandbox.digest_of(paths, {"etcd": "1"}, "r"))
    assert len(digests) == 3 + len(sandbox.BOOT_FILES)


def archive(folder: pathlib.Path, text: str) -> pathlib.Path:
    (folder / "marker").write_text(text)
    with tarfile.open(folder / "rootfs.tar", "w") as tar:
        tar.add(folder / "marker", "etc/marker")
    return folder / "rootfs.tar"


def test_unpack_once_and_again_for_another_archive(tmp_path: pathlib.Path) -> None:
    paths = sandbox.Paths(tmp_path / "state")
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "state/rootfs.new/half").mkdir(parents=True)
    assert sandbox.unpack(paths, archive(source, "one"), "1")
    assert not sandbox.unpack(paths, archive(source, "two"), "1")
    assert (paths.root / "etc/marker").read_text() == "one"
    assert sandbox.unpack(paths, archive(source, "two"), "2")
    assert (paths.root / "etc/marker").read_text() == "two"
    assert not (paths.root / "half").exists()


@pytest.mark.parametrize("name", ["notes.txt", "another"])
def test_a_folder_with_something_else_in_it_is_not_deleted(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / name).touch()
    with pytest.raises(sandbox.SandboxError, match=name):
        sandbox.remove_state(sandbox.Paths(tmp_path))
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("parent", "beside", "left"), [("llmd-wide-ep", False, False), ("llmd-wide-ep", True, True), ("mine", False, True)]
)
def test_the_folder_of_all_clusters_goes_with_the_last(
    tmp_path: pathlib.Path, parent: str, beside: bool, left: bool
) -> None:
    (tmp_path / parent / "one" / "cluster").mkdir(parents=True)
    if beside:
        (tmp_path / parent / "two").mkdir()
    sandbox.remove_state(sandbox.Paths(tmp_path / parent / "one"))
    assert (tmp_path / parent).exists() is left


def test_a_body_that_finds_no_file_is_not_silenced_by_the_lock(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError), sandbox.locked(tmp_path):
        raise FileNotFoundError


@pytest.mark.parametrize("text", ["", "{half", "[1]"])
def test_a_status_that_is_not_complete_reads_as_empty(tmp_path: pathlib.Path, text: str) -> None:
    file = tmp_path / "status.json"
    file.write_text(text)
    assert sandbox.read_json(file) == {}
    assert sandbox.read_json(tmp_path / "missing") == {}
