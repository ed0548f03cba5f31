# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import multiprocessing
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from builder import cache as cache_module
from builder.cache import Cache, digest, need_space, remove, root, sha256_files, tree_digest
from builder.errors import BuildError
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "cache")
    made.prepare()
    return made


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HOME": "/h"}, "/h/.cache/llmd-wide-ep"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/llmd-wide-ep"),
        ({"HOME": "/h", "XDG_CACHE_HOME": ""}, "/h/.cache/llmd-wide-ep"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", "LLMD_WIDE_EP_CACHE": "/c"}, "/c"),
        ({"HOME": "/h", "LLMD_WIDE_EP_CACHE": ""}, "/h/.cache/llmd-wide-ep"),
    ],
)
def test_root(env: Mapping[str, str], expected: str) -> None:
    assert root(env) == Path(expected)


@given(st.dictionaries(st.text(), st.integers(), min_size=1))
def test_digest_ignores_order_and_sees_values(value: dict[str, int]) -> None:
    backwards = dict(reversed(value.items()))
    assert digest(value) == digest(backwards)
    name = next(iter(value))
    assert digest({**value, name: value[name] + 1}) != digest(value)


def test_tree_digest_sees_names_contents_and_executable_bits(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    file.chmod(0o644)
    seen = [tree_digest(tmp_path)]
    file.chmod(0o755)
    seen.append(tree_digest(tmp_path))
    file.write_text("2")
    seen.append(tree_digest(tmp_path))
    file.rename(tmp_path / "b")
    seen.append(tree_digest(tmp_path))
    assert len(set(seen)) == len(seen)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/x.pyc").write_text("x")
    (tmp_path / cache_module.SUMS).write_text("{}")
    assert tree_digest(tmp_path) == seen[-1]


def test_sha256_files_reports_unreadable_ones(tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_bytes(b"abc")
    found = sha256_files([there, missing])
    assert found[there] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found[missing] is None


def test_new_folder_replaces_in_one_step(cache: Cache) -> None:
    target = cache.path("bin", "x")
    for content in ("old", "new"):
        with cache.new_folder(target) as fresh:
            (fresh / "file").write_text(content)
            assert not target.exists() or (target / "file").read_text() == "old"
    assert (target / "file").read_text() == "new"
    assert list(cache.path("tmp").iterdir()) == []


@pytest.mark.parametrize("error", [BuildError("x"), KeyboardInterrupt()])
def test_new_folder_leaves_nothing_half(cache: Cache, error: BaseException) -> None:
    target = cache.path("bin", "x")
    with cache.new_folder(target) as fresh:
        (fresh / "file").write_text("old")

    def interrupted() -> None:
        with cache.new_folder(target) as fresh:
            (fresh / "file").write_text("half")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert (target / "file").read_text() == "old"
    assert list(cache.path("tmp").iterdir()) == []


def test_remove_takes_read_only_folders(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    inner.chmod(0o555)
    (tmp_path / "link").symlink_to(tmp_path)
    remove(tmp_path / "link")
    remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_sweep_removes_what_a_killed_run_left(cache: Cache) -> None:
    cache.path("tmp", "kubernetes-x", "new").mkdir(parents=True)
    cache.path("tmp", "file").touch()
    cache.sweep()
    assert list(cache.path("tmp").iterdir()) == []


def _hold(folder: str, ready: str, release: str) -> None:
    with Cache(Path(folder)).lock(lambda _holder: None):
        Path(ready).touch()
        while not Path(release).exists():
            time.sleep(0.01)


def test_lock_waits_for_the_other_build_and_names_it(cache: Cache, tmp_path: Path) -> None:
    ready, release = tmp_path / "ready", tmp_path / "release"
    other = multiprocessing.get_context("spawn").Process(
        target=_hold, args=(str(cache.folder), str(ready), str(release)), daemon=True
    )
    other.start()
    limit = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    told: list[str] = []

    def waiting(holder: str) -> None:
        told.append(holder)
        release.touch()

    with cache.lock(waiting, every=0.01):
        # Afterwards the holder is on its way out, and its name may be gone already.
        assert told[0] == str(other.pid)
        assert cache.path(cache_module.LOCK).read_text() == f"{os.getpid()}\n"
    other.join(30)
    assert cache.path(cache_module.LOCK).read_text() == ""


def test_lock_of_a_dead_process_is_free(cache: Cache) -> None:
    cache.path(cache_module.LOCK).write_text("4194304\n")
    with cache.lock(lambda holder: pytest.fail(f"waited for {holder}")):
        pass


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EROFS, "writable"), (errno.EACCES, "writable"), (errno.ENOSPC, "free disk space")]
)
def test_prepare_says_why_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(BuildError, match="cannot be written") as caught:
        Cache(tmp_path / "cache").prepare()
    assert advice in caught.value.fix


def test_need_space_adds_up_what_goes_to_one_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "free_bytes", lambda path: (1 if "a" in path.name else 2, 10))
    need_space([(Path("a1"), 5), (Path("a2"), 5), (Path("b"), 10)])
    with pytest.raises(BuildError, match="The disk of a2 has"):
        need_space([(Path("a1"), 5), (Path("a2"), 6), (Path("b"), 10)])


def test_unused_keeps_what_a_manifest_names(cache: Cache) -> None:
    for name in ("bin/new", "bin/old", "images/new", "layers/old", "charts/new/crds/x"):
        cache.path(name).mkdir(parents=True)
    cache.path("clusters/local").mkdir(parents=True)
    keep = [cache.path("bin/new/kubelet"), cache.path("images/new"), cache.path("charts/new/crds/x")]
    assert cache.unused(keep) == [cache.path("bin/old"), cache.path("layers/old")]
