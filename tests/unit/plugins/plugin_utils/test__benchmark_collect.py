# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import hashlib
import json
import random
import typing as t
import zlib
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _benchmark_collect as collecting
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_collect import (
    CollectError,
    Collector,
    ExecError,
    broken,
    take_place,
)

CONTENT = {
    "p/run-0/run.json": b"{}",
    "p/run-0/stage_0_lifecycle_metrics.json": random.Random(1).randbytes(3 * collecting.PART + 17),
    "p/run-0/empty": b"",
}


def sums(content: t.Mapping[str, bytes]) -> dict[str, dict[str, t.Any]]:
    return {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in sorted(content.items())
    }


class FakePod:
    """Answers as ``launcher.py send`` does; ``disturb`` sees every answer before it is given."""

    def __init__(self, content: t.Mapping[str, bytes] | None = None) -> None:
        content = CONTENT if content is None else content
        index = json.dumps({"files": sums(content)}).encode()
        self.files = {**content, "index.json": index}
        self.index_sum = hashlib.sha256(index).hexdigest()
        self.disturb: t.Callable[[int, str], str] = lambda number, text: text
        self.calls = 0

    def __call__(self, command: t.Sequence[str], timeout: float) -> str:
        self.calls += 1
        path, offset, length = command[3], int(command[4]), int(command[5])
        data = self.files[path.removeprefix("/requests/e/")][offset : offset + length]
        return self.disturb(self.calls, base64.b64encode(zlib.compress(data)).decode() + "\n")


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> FakePod:
    monkeypatch.setattr(collecting, "PAUSE", 0)
    return FakePod()


def collect(pod: FakePod, folder: Path, patience: float = 5) -> list[str]:
    return Collector(pod, "e", patience, lambda text: None).collect(pod.index_sum, folder)


def there(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "index.json"
    }


def test_everything_comes_whole(pod: FakePod, tmp_path: Path) -> None:
    assert collect(pod, tmp_path / "x") == sorted(CONTENT)
    assert there(tmp_path / "x") == CONTENT
    assert broken(tmp_path / "x") == ""
    assert pod.calls == 1 + 1 + 4, "the index, the marker, four parts; an empty file needs none"


def fails(number: int, text: str) -> str:
    if number in (2, 4, 5):
        raise ExecError("the connection ended before the command did")
    return text


DISTURBED: dict[str, t.Callable[[int, str], str]] = {
    "cut connections": fails,
    "cut text": lambda number, text: text[: len(text) // 2] if number in (3, 6) else text,
    "no text": lambda number, text: "" if number == 3 else text,
    "another part": lambda n, text: base64.b64encode(zlib.compress(b"x")).decode() if n == 3 else text,
    "a part of the right length": lambda n, text: (
        base64.b64encode(zlib.compress(bytes(collecting.PART))).decode() if n == 3 else text
    ),
}


@pytest.mark.parametrize("disturb", DISTURBED.values(), ids=DISTURBED)
def test_what_is_lost_on_the_way_is_asked_for_again(
    pod: FakePod, tmp_path: Path, disturb: t.Callable[[int, str], str]
) -> None:
    pod.disturb = disturb
    collect(pod, tmp_path / "x")
    assert there(tmp_path / "x") == CONTENT
    assert pod.calls > 6


def test_of_a_large_file_only_the_part_that_was_cut_comes_again(pod: FakePod, tmp_path: Path) -> None:
    pod.disturb = DISTURBED["another part"]
    collect(pod, tmp_path / "x")
    assert pod.calls == 7


def test_what_does_not_come_is_an_error_that_can_be_tried_again(pod: FakePod, tmp_path: Path) -> None:
    def gone(number: int, text: str) -> str:
        if number > 3:
            raise ExecError("no route to host")
        return text

    pod.disturb = gone
    with pytest.raises(CollectError, match=r"stage_0.*no route to host") as caught:
        collect(pod, tmp_path / "x", patience=0.05)
    assert caught.value.retryable


def test_a_file_that_never_has_its_sum_is_an_error(pod: FakePod, tmp_path: Path) -> None:
    pod.files["p/run-0/run.json"] = b"[]"
    with pytest.raises(CollectError, match=r"run\.json: sha256 \S+ in place of \S+, twice"):
        collect(pod, tmp_path / "x")


def test_another_index_is_an_error(pod: FakePod, tmp_path: Path) -> None:
    pod.index_sum = "0" * 64
    with pytest.raises(CollectError, match=r"index\.json"):
        collect(pod, tmp_path / "x")


def test_no_file_leaves_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CollectError, match="leads out of the folder"):
        collect(FakePod({"../../evil": b"x"}), tmp_path / "x" / "y")
    assert not (tmp_path / "evil").exists()


def test_a_folder_with_content_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old").touch()
    with pytest.raises(CollectError, match="is not empty") as caught:
        take_place(tmp_path / "fresh", tmp_path / "there")
    assert not caught.value.retryable
    (tmp_path / "there" / "old").unlink()
    take_place(tmp_path / "fresh", tmp_path / "there")
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize("harm", ["change", "remove", "index"])
def test_results_that_were_changed_later_are_broken(pod: FakePod, tmp_path: Path, harm: str) -> None:
    collect(pod, tmp_path / "x")
    path = tmp_path / "x" / "p/run-0/run.json"
    if harm == "change":
        path.write_bytes(b"{ }")
    else:
        (path if harm == "remove" else tmp_path / "x" / "index.json").unlink()
    assert broken(tmp_path / "x")


class FakeSocket:
    """A websocket as the official client has it: channels by number, closed or not after its time."""

    def __init__(self, output: str, complaint: str, status: str, still_open: bool = False) -> None:
        self.said = {1: output, 2: complaint, 3: status}
        self.still_open, self.closed = still_open, False

    def run_forever(self, timeout: float) -> None: ...

    def is_open(self) -> bool:
        return self.still_open

    def read_stdout(self, timeout: float) -> str:
        return self.said[1]

    def read_stderr(self, timeout: float) -> str:
        return self.said[2]

    def read_channel(self, channel: int, timeout: float) -> str:
        return self.said[channel]

    def close(self) -> None:
        self.closed = True


def test_an_exec_that_ends_well_gives_its_output() -> None:
    socket = FakeSocket("out", "", '{"status": "Success"}')
    assert collecting._output(socket, 1) == "out"
    assert socket.closed


@pytest.mark.parametrize(
    ("socket", "words"),
    [
        (FakeSocket("half", "", ""), "the connection ended before the command did"),
        (FakeSocket("", "no such file", '{"status": "Failure"}'), "no such file"),
        (FakeSocket("", "", '{"status": "Failure", "message": "exit code 1"}'), "exit code 1"),
        (FakeSocket("half", "", "", still_open=True), "no end after 1 s"),
    ],
)
def test_an_exec_that_does_not_end_well_is_an_error(socket: FakeSocket, words: str) -> None:
    with pytest.raises(ExecError, match=words):
        collecting._output(socket, 1)
    assert socket.closed
