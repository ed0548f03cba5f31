# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the prefetch program. With the real library it is tested in tests/integration/prefetch."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import sys
import types
import typing as t
from pathlib import Path

import pytest
from loading import load_file

PROGRAM = Path(__file__).parents[4] / "roles" / "model_server" / "files" / "prefetch.py"


def load() -> t.Any:
    return load_file(PROGRAM, "prefetch_program_unit")


program = load()


def answered(status: int, **headers: str) -> Exception:
    """An error of the library: it carries the hub's response."""
    error = RuntimeError(f"status {status}")
    error.response = types.SimpleNamespace(status_code=status, headers=headers)  # type: ignore[attr-defined]
    return error


def wrapped(error: BaseException) -> Exception:
    try:
        raise ValueError("cannot find the file on the hub, nor in the cache") from error
    except ValueError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (answered(401), "token"),
        (answered(403), "token"),
        (answered(404), "model"),
        (wrapped(answered(401)), "token"),
        (answered(429), None),
        (answered(503), None),
        (wrapped(answered(503)), None),
        (ConnectionResetError(errno.ECONNRESET, "reset"), None),
        (OSError("Consistency check failed: file should be of size 3 but has size 2"), None),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (wrapped(OSError(errno.EDQUOT, "Disk quota exceeded")), "disk"),
        (TypeError("unexpected keyword argument"), "library"),
        (program.Stop("corrupt", "x"), "corrupt"),
    ],
)
def test_what_ends_the_run_and_what_is_tried_again(error: BaseException, reason: str | None) -> None:
    stop = program.judge(error)
    assert (stop.reason if stop else None) == reason
    assert reason is None or reason in program.EXITS


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7), ({"Retry-After": "86400"}, 600), ({"Retry-After": "Wed, 21 Oct"}, None), ({}, None)],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert program.retry_after(answered(429, **headers).response) == seconds  # type: ignore[attr-defined]


def test_a_pause_is_what_the_hub_asks_for_or_grows() -> None:
    assert 7 <= program.pause(wrapped(answered(429, **{"Retry-After": "7"})), 9) <= 8
    first, later = program.pause(answered(503), 1), program.pause(answered(503), 30)
    assert 1 <= first <= 2
    assert 30 <= later <= program.LONGEST_BACKOFF


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["a.safetensors", "a.bin", "a.gguf", "config.json"], ["a.safetensors", "config.json"]),
        (["a.bin", "config.json"], ["a.bin", "config.json"]),
        (["original/a.safetensors", "a.safetensors"], ["a.safetensors"]),
    ],
)
def test_weights_are_downloaded_in_one_format(names: list[str], kept: list[str]) -> None:
    assert [file.name for file in program.wanted([program.File(name, 1, "b") for name in names])] == kept


@pytest.fixture
def cache(tmp_path: Path) -> t.Any:
    made = program.Cache(tmp_path, "owner/name", "c0ffee")
    made.blobs.mkdir(parents=True)
    made.snapshot.mkdir(parents=True)
    return made


def put(cache: t.Any, content: bytes, announced: bytes | None = None) -> t.Any:
    """A file in the cache, as the library leaves it, whose hub announces another content where one is given."""
    told = content if announced is None else announced
    file = program.File("w.safetensors", len(told), hashlib.sha256(told).hexdigest())
    (cache.blobs / file.blob).write_bytes(content)
    (cache.snapshot / file.name).symlink_to(cache.blobs / file.blob)
    return file


def test_a_file_counts_in_its_own_size_only(cache: t.Any) -> None:
    file = put(cache, b"1234")
    assert cache.complete(file)
    assert not cache.discard_damaged(file)
    assert not cache.complete(program.File(file.name, 5, file.blob))
    assert not cache.complete(program.File("other", 4, "b"))


@pytest.mark.parametrize("content", [b"12", b"123456"])
def test_a_file_of_another_size_is_thrown_away(cache: t.Any, content: bytes) -> None:
    file = put(cache, content, announced=b"1234")
    assert cache.discard_damaged(file)
    assert list(cache.blobs.iterdir()) == []
    assert not (cache.snapshot / file.name).is_symlink()


def test_half_a_file_counts_as_half(cache: t.Any) -> None:
    file = program.File("w.safetensors", 10, "b10b")
    (cache.blobs / "b10b.incomplete").write_bytes(b"1234")
    assert cache.present([file]) == {"b10b": 4}
    assert not cache.discard_damaged(file)


@pytest.mark.parametrize("locked", [False, True])
def test_what_a_killed_download_left_is_removed_unless_it_still_runs(
    cache: t.Any, tmp_path: Path, locked: bool
) -> None:
    own, resumed = cache.blobs / "b10b.0123abcd.incomplete", cache.blobs / "b10b.incomplete"
    for path in (own, resumed):
        path.write_bytes(b"1234")
    lock = tmp_path / ".locks" / cache.folder.name / "b10b.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as holder:
        if locked:
            fcntl.flock(holder, fcntl.LOCK_EX)
        cache.discard_leftovers()
    assert (own.exists(), resumed.exists()) == (locked, True)
    assert cache.present([program.File("w", 10, "b10b")]) == {"b10b": 4}


def test_hashes_of_both_kinds(cache: t.Any) -> None:
    large = put(cache, b"1234")
    assert cache.matches(large)
    assert not cache.matches(program.File(large.name, 4, "0" * 64))
    # What `git hash-object` says of the same content.
    assert cache.matches(program.File(large.name, 4, "274c0052dd5408f8ae2bc8440029ff67d79bc5c3"))


def test_a_verified_file_is_one_until_it_changes(cache: t.Any, tmp_path: Path) -> None:
    file = put(cache, b"1234")
    assert not cache.verified(file)
    cache.set_verified(file)
    again = program.Cache(tmp_path, "owner/name", "c0ffee")
    assert again.verified(file)
    (cache.blobs / file.blob).write_bytes(b"5678")
    assert not again.verified(file)


def test_a_broken_record_is_none(cache: t.Any, tmp_path: Path) -> None:
    cache.set_verified(put(cache, b"1234"))
    (cache.folder / ".wide-ep-verified.json").write_text("{")
    assert not program.Cache(tmp_path, "owner/name", "c0ffee").verified(program.File("w.safetensors", 4, "x"))


def test_progress_tells_rate_and_time_left(cache: t.Any) -> None:
    settings = program.parse(["--model=owner/name"])
    progress = program.Progress(settings, program.Throttle(0.0))
    file = program.File("w.safetensors", 100, "b10b")
    half = cache.blobs / "b10b.incomplete"
    half.write_bytes(b"x" * 10)
    progress.start(cache, [file])
    assert progress.measure(1000.0)["seconds_left"] is None
    half.write_bytes(b"x" * 40)
    values = progress.measure(1003.0)
    assert (values["done_bytes"], values["fetched_bytes"], values["bytes_per_second"]) == (40, 30, 10)
    assert values["seconds_left"] == 6
    assert "0 min 6 s left" in program.human(values)


def test_a_model_name_becomes_no_pattern() -> None:
    assert program._literal("a[1]*.json") == "a[[]1][*].json"


def test_without_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: t.Any, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(program.signal, "signal", lambda *_arguments: None)
    monkeypatch.setattr(program.os, "environ", {})
    assert program.main(["--model=owner/name", f"--cache={tmp_path}"]) == program.EXITS["library"]
    assert "has no huggingface_hub" in capsys.readouterr().err
