# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prefetch program with the real huggingface_hub client against a hub on loopback.

The client is that of the interpreter that runs the tests, and of those in LLMD_WIDE_EP_HUB_PYTHONS (separated as PATH
is): the library has two generations, on requests below 1.0 and on httpx since.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from loading import load_file

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "roles" / "model_server" / "files" / "prefetch.py"
FRAME = "@prefetch "
#: The client writes in chunks of 10 MiB; what is on its way is lost when it is killed.
CHUNK = 10 << 20


def _load_hub() -> t.Any:
    return load_file(Path(__file__).with_name("hub.py"), "prefetch_hub")


hub_module = _load_hub()
MODEL, COMMIT = hub_module.MODEL, hub_module.COMMIT
LARGE_FILES, WANTED = hub_module.LARGE_FILES, hub_module.WANTED


def interpreters() -> list[str]:
    own = [sys.executable] if importlib.util.find_spec("huggingface_hub") else []
    return own + [path for path in os.environ.get("LLMD_WIDE_EP_HUB_PYTHONS", "").split(os.pathsep) if path]


PYTHONS = interpreters()
pytestmark = pytest.mark.skipif(not PYTHONS, reason="no interpreter with huggingface_hub")


@pytest.fixture(params=PYTHONS or [""], ids=lambda path: Path(path).parents[1].name if path else "none")
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def hub() -> t.Iterator[t.Any]:
    server = hub_module.Hub(hub_module.contents(24))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@dataclasses.dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def frames(self) -> list[dict[str, t.Any]]:
        lines = [line for line in self.out.splitlines() if line.startswith(FRAME)]
        return [json.loads(line.removeprefix(FRAME)) for line in lines]

    @property
    def last(self) -> dict[str, t.Any]:
        return self.frames[-1]


class Node:
    """One node: its cache and the program on it."""

    def __init__(self, python: str, cache: Path, url: str) -> None:
        self.python, self.cache, self.url = python, cache, url
        self.environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": url, "HF_HUB_CACHE": str(cache)}
        self.environment["HOME"] = str(cache)

    def start(self, *arguments: str, token: str = "") -> subprocess.Popen[str]:
        given = {"HF_TOKEN": token} if token else {}
        return subprocess.Popen(
            [self.python, str(PROGRAM), "--model", MODEL, "--interval", "0.2", "--reserve-percent", "0", *arguments],
            env={**self.environment, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, token: str = "", timeout: float = 120) -> Ended:
        process = self.start(*arguments, token=token)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return Ended(process.returncode, out, err)

    @property
    def folder(self) -> Path:
        return self.cache / f"models--{MODEL.replace('/', '--')}"

    def file(self, name: str) -> Path:
        return self.folder / "snapshots" / COMMIT / name

    def on_disk(self) -> int:
        return sum(path.stat().st_size for path in (self.folder / "blobs").glob("*"))

    def assert_complete(self, hub: t.Any) -> None:
        for name in WANTED:
            assert self.file(name).read_bytes() == hub.files[name], name
        assert (self.folder / "refs" / "main").read_text() == COMMIT
        assert not list((self.folder / "blobs").glob("*.incomplete"))


@pytest.fixture
def node(python: str, tmp_path: Path, hub: t.Any) -> Node:
    return Node(python, tmp_path / "cache", hub.url)


def until(condition: t.Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_cold_cache_is_filled_with_what_vllm_reads_and_no_more(node: Node, hub: t.Any) -> None:
    hub.speed = 20 << 20
    ended = node.run()
    assert ended.code == 0, ended.err
    node.assert_complete(hub)
    assert set(hub.sent) == set(WANTED)
    total = sum(len(hub.files[name]) for name in WANTED)
    assert (ended.last["state"], ended.last["fetched_bytes"], ended.last["total_bytes"]) == ("complete", total, total)
    downloading = [frame for frame in ended.frames if frame["state"] == "downloading" and frame["bytes_per_second"]]
    assert downloading, "no line of progress with a rate"
    assert all(frame["seconds_left"] is not None for frame in downloading)
    assert "GB/s" in ended.out
    assert "s left" in ended.out


def test_a_complete_cache_is_left_alone_in_seconds(node: Node, hub: t.Any) -> None:
    assert node.run().code == 0
    sent, asked = hub.downloads(), hub.asked()
    ended = node.run()
    assert ended.code == 0
    assert ended.last["fetched_bytes"] == 0
    assert hub.downloads() == sent
    # The listing, once by the program and once or twice by the library's own look at the result.
    assert hub.asked() - asked <= 3
    # Its own clock begins after the imports, which is all that takes long on a busy machine.
    assert ended.last["seconds"] < 10


@pytest.mark.parametrize("signal", [9, 15], ids=["killed", "terminated"])
def test_a_killed_run_is_resumed_where_it_stopped(node: Node, hub: t.Any, signal: int) -> None:
    hub.speed = 12 << 20
    process = node.start("--workers", "2")
    until(lambda: hub.downloads() > 30 << 20)
    process.send_signal(signal)
    process.communicate(timeout=10)
    kept = node.on_disk()
    assert kept >= CHUNK
    hub.speed = 0
    before = hub.downloads()
    ended = node.run("--workers", "2")
    assert ended.code == 0, ended.err
    node.assert_complete(hub)
    total = sum(len(hub.files[name]) for name in WANTED)
    assert hub.downloads() - before == total - kept, "bytes that were on the disk were sent again"
    assert ended.last["fetched_bytes"] == total - kept


def test_a_dropped_connection_is_resumed(node: Node, hub: t.Any) -> None:
    hub.drops = 2
    ended = node.run()
    assert ended.code == 0, ended.err
    node.assert_complete(hub)
    total = sum(len(hub.files[name]) for name in WANTED)
    assert hub.downloads() <= total + 2 * CHUNK


def test_a_busy_hub_is_left_alone_as_long_as_it_asks(node: Node, hub: t.Any) -> None:
    hub.busy, hub.retry_after = 3, "2"
    started = time.monotonic()
    ended = node.run("--workers", "1")
    assert ended.code == 0, ended.err
    node.assert_complete(hub)
    refused = [at for at, _method, _path, status in hub.requests if status == 429]
    after = [min(at for at, *_rest in hub.requests if at > moment) for moment in refused]
    assert len(refused) == 3
    assert all(next_one - moment >= 2 for moment, next_one in zip(refused, after, strict=True))
    assert time.monotonic() - started >= 6
    assert ended.last["throttled"] == 3
    assert "asked to slow down" in ended.out


def test_a_busy_hub_without_retry_after_is_asked_again(node: Node, hub: t.Any) -> None:
    hub.busy = 2
    ended = node.run("--workers", "1")
    assert ended.code == 0, ended.err
    node.assert_complete(hub)


@pytest.mark.parametrize(
    ("damage", "arguments"), [("truncated", ()), ("lengthened", ()), ("truncated", ("--no-verify",))]
)
def test_a_file_of_another_size_is_repaired(node: Node, hub: t.Any, damage: str, arguments: tuple[str, ...]) -> None:
    assert node.run().code == 0
    victim = node.file(LARGE_FILES[1])
    with victim.open("r+b") as handle:
        handle.truncate((5 << 20) if damage == "truncated" else (25 << 20))
    before = hub.downloads()
    ended = node.run(*arguments)
    assert ended.code == 0, ended.err
    node.assert_complete(hub)
    assert hub.downloads() - before == len(hub.files[LARGE_FILES[1]])
    assert ended.last["damaged"] == 1


def test_a_file_of_another_content_is_repaired(node: Node, hub: t.Any) -> None:
    assert node.run().code == 0
    with node.file(LARGE_FILES[0]).open("r+b") as handle:
        handle.seek(100)
        handle.write(b"wrong")
    ended = node.run()
    assert ended.code == 0, ended.err
    node.assert_complete(hub)
    assert ended.last["damaged"] == 1


def test_a_file_that_arrives_wrong_is_downloaded_again(node: Node, hub: t.Any) -> None:
    hub.wrong = {LARGE_FILES[2]: 1}
    ended = node.run()
    assert ended.code == 0, ended.err
    node.assert_complete(hub)


def test_a_file_that_always_arrives_wrong_ends_it(node: Node, hub: t.Any) -> None:
    hub.wrong = {LARGE_FILES[2]: 99}
    ended = node.run()
    assert ended.code == 40
    assert LARGE_FILES[2] in ended.last["detail"]


def test_a_missing_token_ends_it_at_once(node: Node, hub: t.Any) -> None:
    hub.token = "hf_right"
    ended = node.run(token="hf_wrong")
    assert ended.code == 20
    assert "401" in ended.last["detail"]
    assert hub.asked() == 1, "it asked again"
    assert "hf_wrong" not in ended.out + ended.err
    assert node.run(token="hf_right").code == 0
    node.assert_complete(hub)


def test_an_unknown_model_ends_it(node: Node, hub: t.Any) -> None:
    ended = node.run("--model", "deepseek-ai/DeepSeek-R2")
    assert ended.code == 21


def test_a_hub_that_is_down_ends_it_when_the_patience_does(node: Node, hub: t.Any) -> None:
    hub.down = True
    ended = node.run("--patience", "10")
    assert ended.code == 11
    assert "503" in ended.last["detail"]


def test_the_time_is_bounded_and_the_next_run_goes_on(node: Node, hub: t.Any) -> None:
    hub.speed = 6 << 20
    ended = node.run("--timeout", "3", "--workers", "2")
    assert ended.code == 10
    hub.speed = 0
    kept = node.on_disk()
    again = node.run()
    assert again.code == 0
    assert again.last["fetched_bytes"] == again.last["total_bytes"] - kept


def fill(path: Path) -> None:
    """Take all that the disk has left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as handle:
        while True:
            handle.write(b"\0" * (1 << 20))


@pytest.fixture
def small_disk(tmp_path: Path) -> t.Iterator[t.Callable[[int], Path]]:
    if os.geteuid() != 0:
        pytest.skip("a full disk needs a file system of its own, and so root")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(megabytes: int) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False)


def test_a_small_disk_is_refused_before_anything_is_downloaded(
    python: str, hub: t.Any, small_disk: t.Callable[[int], Path]
) -> None:
    node = Node(python, small_disk(60), hub.url)
    ended = node.run()
    assert ended.code == 30
    assert hub.downloads() == 0
    assert "GB are missing" in ended.last["detail"]


def test_the_reserve_is_kept_free(python: str, hub: t.Any, small_disk: t.Callable[[int], Path]) -> None:
    node = Node(python, small_disk(80), hub.url)
    assert node.run("--reserve-percent", "10").code == 30
    assert node.run().code == 0


def test_a_disk_that_fills_meanwhile_ends_it_and_is_given_back(
    python: str, hub: t.Any, small_disk: t.Callable[[int], Path]
) -> None:
    disk = small_disk(90)
    hub.speed = 8 << 20
    node = Node(python, disk, hub.url)
    process = node.start("--workers", "2")
    until(lambda: hub.downloads() > 12 << 20)
    other = disk / "someone-else"
    fill(other)
    out, err = process.communicate(timeout=60)
    ended = Ended(process.returncode, out, err)
    assert ended.code == 30, ended.err
    assert not list((node.folder / "blobs").glob("*.incomplete"))
    other.unlink()
    hub.speed = 0
    assert node.run().code == 0
    node.assert_complete(hub)
