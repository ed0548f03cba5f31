# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills the model cache of one node, before the pods that read it are started.

Runs in a pod with vLLM's image and needs nothing but its huggingface_hub (0.34 and newer). It downloads what is
missing, resumes what was interrupted, waits as long as a busy hub asks for, and checks the hash of every file once.
Every few seconds it prints a line for people and a line for programs, which begins with FRAME and goes on as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import typing as t
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import urlsplit

FRAME = "@prefetch "
#: Why a run ends, and its exit code. Those from 20 on do not heal by trying again.
EXITS = {"complete": 0, "time": 10, "hub": 11, "token": 20, "model": 21, "disk": 30, "corrupt": 40, "library": 50}
#: vLLM reads safetensors where a repository has them; the same weights in other formats would double the download.
OTHER_FORMATS = (".bin", ".gguf", ".h5", ".msgpack", ".onnx", ".ot", ".pt", ".pth")
LONGEST_BACKOFF = 60.0
#: A hub's window of limited requests is 5 minutes; more than two of them are no answer to wait for.
LONGEST_RETRY_AFTER = 600.0
RATE_WINDOW = 30.0
MISMATCHES = 3
#: Answers of a hub that asking again does not change.
ANSWERS = {401: "token", 403: "token", 404: "model"}
BLOCK = 8 << 20
#: Files from this size on are worth resuming.
LARGE = 8 << 20


class Stop(Exception):  # noqa: N818
    """The end of the run, by a reason of EXITS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclasses.dataclass(frozen=True)
class Settings:
    model: str
    revision: str
    cache: Path
    workers: int
    timeout: float
    patience: float
    reserve_percent: float
    interval: float
    verify: bool


@dataclasses.dataclass(frozen=True)
class File:
    """A file of the repository; ``blob`` is its name in the cache: the sha256 of a large file, git's hash of others."""

    name: str
    size: int
    blob: str

    def digest(self) -> t.Any:
        if len(self.blob) == 64:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)


class Cache:
    """One model in a cache of huggingface_hub: blobs by hash, snapshots that link to them."""

    def __init__(self, root: Path, model: str, commit: str) -> None:
        self.folder = root / f"models--{model.replace('/', '--')}"
        self.blobs = self.folder / "blobs"
        self.snapshot = self.folder / "snapshots" / commit
        self._record = self.folder / ".wide-ep-verified.json"
        self._lock = threading.Lock()
        self._verified: dict[str, list[int]] = self._read_record()

    def complete(self, file: File) -> bool:
        return _size(self.snapshot / file.name) == file.size

    def present(self, files: t.Iterable[File]) -> dict[str, int]:
        """How many bytes of each blob are on the disk, those of a download under way or interrupted included."""
        sizes: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            for path in self.blobs.iterdir():
                blob = path.name.partition(".")[0]
                sizes[blob] = max(sizes.get(blob, 0), _size(path) or 0)
        return {
            file.blob: file.size if self.complete(file) else min(sizes.get(file.blob, 0), file.size) for file in files
        }

    def discard(self, file: File) -> None:
        """Forget a file: link, content and half of it, since it is not known which half is right."""
        for path in (self.snapshot / file.name, self.blobs / file.blob, self.incomplete(file)):
            path.unlink(missing_ok=True)

    def discard_damaged(self, file: File) -> bool:
        """Whether the file was there in a size that is not its own. The library would take it for the whole one."""
        sizes = (_size(self.snapshot / file.name), _size(self.blobs / file.blob))
        damaged = any(size not in (None, file.size) for size in sizes)
        too_long = (_size(self.incomplete(file)) or 0) > file.size
        if damaged or too_long:
            self.discard(file)
        return damaged or too_long

    def discard_leftovers(self) -> None:
        """Remove what killed downloads have left under names of their own, which no later one resumes."""
        for path in self.blobs.glob("*.*.incomplete"):
            with self.lock(path.name.partition(".")[0]) as ours:
                if ours:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, blob: str) -> t.Iterator[bool]:
        """Hold the lock under which the library downloads a blob; False where another process has it."""
        folder = self.folder.parent / ".locks" / self.folder.name
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{blob}.lock", "a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True

    def discard_incomplete(self) -> None:
        for path in self.blobs.glob("*.incomplete"):
            path.unlink(missing_ok=True)

    def matches(self, file: File) -> bool:
        """Whether the content has the hash that the hub gives for it."""
        digest = file.digest()
        with open(self.snapshot / file.name, "rb", buffering=0) as handle:
            while block := handle.read(BLOCK):
                digest.update(block)
        return bool(digest.hexdigest() == file.blob)

    def verified(self, file: File) -> bool:
        return self._verified.get(file.blob) == self._fingerprint(file)

    def set_verified(self, file: File) -> None:
        with self._lock:
            self._verified[file.blob] = self._fingerprint(file)
            temporary = self._record.with_suffix(".new")
            temporary.write_text(json.dumps(self._verified))
            temporary.replace(self._record)

    def _fingerprint(self, file: File) -> list[int]:
        status = (self.snapshot / file.name).stat()
        return [status.st_size, status.st_mtime_ns]

    def incomplete(self, file: File) -> Path:
        return self.blobs / f"{file.blob}.incomplete"

    def _read_record(self) -> dict[str, list[int]]:
        try:
            return dict(json.loads(self._record.read_text()))
        except (OSError, ValueError):
            return {}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


class Throttle:
    """Waits when a hub says how long; huggingface_hub itself does not read Retry-After."""

    def __init__(self, deadline: float) -> None:
        self.count = 0
        self.until = 0.0
        self._deadline = deadline

    def hook(self, response: t.Any, *_arguments: t.Any, **_keywords: t.Any) -> None:
        if response.status_code != 429:
            return
        self.count += 1
        seconds = retry_after(response)
        if seconds:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()))
            self.until = max(self.until, time.monotonic() + seconds)
            time.sleep(seconds)

    @property
    def waiting(self) -> bool:
        return time.monotonic() < self.until

    def install(self, library: t.Any) -> None:
        """Both generations of the library take a factory of their HTTP client: requests below 1.0, httpx since."""
        if hasattr(library, "set_client_factory"):
            library.set_client_factory(self._httpx_client)
        elif hasattr(library, "configure_http_backend"):
            library.configure_http_backend(backend_factory=self._requests_session)

    def _httpx_client(self) -> t.Any:
        client = importlib.import_module("huggingface_hub.utils._http").default_client_factory()
        client.event_hooks = {**client.event_hooks, "response": [self.hook]}
        return client

    def _requests_session(self) -> t.Any:
        session = importlib.import_module("requests").Session()
        session.hooks["response"].append(self.hook)
        return session


def retry_after(response: t.Any) -> float | None:
    try:
        seconds = float(response.headers["Retry-After"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


class Hub:
    """What is asked of huggingface_hub."""

    def __init__(self, settings: Settings, throttle: Throttle) -> None:
        try:
            self._library = importlib.import_module("huggingface_hub")
        except ImportError as error:
            raise Stop("library", f"{sys.executable} has no huggingface_hub: {error}") from error
        self._settings = settings
        throttle.install(self._library)

    def listing(self) -> tuple[str, list[File]]:
        """The commit of the revision, and its files."""
        info = self._library.HfApi().model_info(
            self._settings.model, revision=self._settings.revision, files_metadata=True
        )
        files = [
            File(entry.rfilename, entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id)
            for entry in info.siblings
        ]
        return info.sha, wanted(files)

    def download(self, file: File, commit: str, cache: Cache) -> None:
        if file.size >= LARGE:
            # The parts are not all documented ones; without them the library does it alone, and begins anew.
            with contextlib.suppress(AttributeError, TypeError):
                self._fetch(file, commit, cache)
        self._library.hf_hub_download(
            self._settings.model, file.name, revision=commit, cache_dir=str(self._settings.cache)
        )

    def _fetch(self, file: File, commit: str, cache: Cache) -> None:
        """Bring a large file's blob, from where an earlier run stopped.

        hf_hub_download itself resumes up to 1.16; newer ones write under a random name and lose what was there
        (huggingface_hub #4228).
        """
        cache.blobs.mkdir(parents=True, exist_ok=True)
        with cache.lock(file.blob) as ours:
            if not ours or (cache.blobs / file.blob).exists():
                return
            url = self._library.hf_hub_url(self._settings.model, file.name, revision=commit)
            found = self._library.get_hf_file_metadata(url)
            headers = self._library.utils.build_hf_headers()
            target = url if getattr(found, "xet_file_data", None) else found.location
            if urlsplit(target).netloc != urlsplit(url).netloc:
                # The address is signed; the token is for the hub alone.
                headers.pop("authorization", None)
            with open(cache.incomplete(file), "ab") as handle:
                if handle.tell() > file.size:
                    handle.truncate(0)
                parts = importlib.import_module("huggingface_hub.file_download")
                parts.http_get(target, handle, resume_size=handle.tell(), headers=headers, expected_size=file.size)
            cache.incomplete(file).replace(cache.blobs / file.blob)

    def set_reference(self, files: t.Sequence[File]) -> None:
        """Let the library look at the result: it also writes which commit the revision stands for."""
        self._library.snapshot_download(
            self._settings.model,
            revision=self._settings.revision,
            cache_dir=str(self._settings.cache),
            allow_patterns=[_literal(file.name) for file in files],
        )


def _literal(name: str) -> str:
    """A pattern that matches this name alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def wanted(files: t.Sequence[File]) -> list[File]:
    """The files that vLLM may read."""
    names = [file.name for file in files]
    weights_twice = any(name.endswith(".safetensors") for name in names)
    return [
        file
        for file in files
        if not file.name.startswith("original/") and not (weights_twice and file.name.endswith(OTHER_FORMATS))
    ]


def chain(error: BaseException) -> t.Iterator[BaseException]:
    """The error and what caused it; the library wraps what the hub answered."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def judge(error: BaseException) -> Stop | None:
    """The end of the run, or None for what may heal by itself."""
    for link in chain(error):
        if isinstance(link, Stop):
            return link
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return Stop("disk", f"{link.strerror}: {link.filename or 'while downloading'}")
        status = getattr(getattr(link, "response", None), "status_code", None)
        if status is not None:
            reason = ANSWERS.get(status)
            return Stop(reason, f"the hub answered {status}: {one_line(link)}") if reason else None
    broken = isinstance(error, (TypeError, AttributeError, ValueError))
    return Stop("library", f"{type(error).__name__}: {one_line(error)}") if broken else None


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def pause(error: BaseException, attempt: int) -> float:
    """Seconds until the next try; random, so that nodes that failed together do not come back together."""
    for link in chain(error):
        seconds = retry_after(getattr(link, "response", None))
        if seconds is not None:
            return float(seconds + random.uniform(0, 1))
    return float(min(LONGEST_BACKOFF, 2.0**attempt) * random.uniform(0.5, 1.0))


class Progress:
    """How much is there, how fast it grows and how long the rest takes."""

    def __init__(self, settings: Settings, throttle: Throttle) -> None:
        self._settings = settings
        self._throttle = throttle
        self._marks: list[tuple[float, int]] = []
        self.state = "listing"
        self.cache: Cache | None = None
        self.files: list[File] = []
        self.began = 0
        self.damaged = 0
        self.moved = time.monotonic()
        self.error = ""

    def start(self, cache: Cache, files: list[File]) -> None:
        self.cache, self.files = cache, files
        self.began = self.done()

    def done(self) -> int:
        cache = self.cache
        return sum(cache.present(self.files).values()) if cache else 0

    def measure(self, now: float) -> dict[str, t.Any]:
        done, total = self.done(), sum(file.size for file in self.files)
        if self._throttle.waiting or self.state == "verifying" or not self._marks or done != self._marks[-1][1]:
            self.moved = now
        self._marks = [*(mark for mark in self._marks if now - mark[0] <= RATE_WINDOW), (now, done)]
        (then, before) = self._marks[0]
        rate = max(0.0, (done - before) / (now - then)) if now > then else 0.0
        return {
            "state": self.state,
            "model": self._settings.model,
            "done_bytes": done,
            "total_bytes": total,
            "fetched_bytes": max(0, done - self.began),
            "bytes_per_second": round(rate),
            "seconds_left": round((total - done) / rate) if rate and self.files else None,
            "files": len(self.files),
            "damaged": self.damaged,
            "throttled": self._throttle.count,
            "error": self.error,
        }

    def print(self, values: t.Mapping[str, t.Any]) -> None:
        print(human(values), flush=True)
        print(FRAME + json.dumps(values), flush=True)


def human(values: t.Mapping[str, t.Any]) -> str:
    done, total = values["done_bytes"] / 1e9, values["total_bytes"] / 1e9
    left = values["seconds_left"]
    parts = [
        f"{values['state']}: {done:.2f} of {total:.2f} GB",
        f"{values['bytes_per_second'] / 1e9:.3f} GB/s",
        "time left unknown" if left is None else f"{left // 60} min {left % 60} s left",
    ]
    if values["throttled"]:
        parts.append(f"asked to slow down {values['throttled']} times")
    if values["error"]:
        parts.append(f"last error: {values['error']}")
    return ", ".join(parts)


class Run:
    """One node's download, from the listing to the last hash."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.deadline = self.started + settings.timeout
        self.throttle = Throttle(self.deadline)
        self.progress = Progress(settings, self.throttle)
        self.stopped = threading.Event()

    def execute(self) -> None:
        """Return when everything is there and right, or raise Stop."""
        pool = ThreadPoolExecutor(self.settings.workers)
        try:
            hub = Hub(self.settings, self.throttle)
            commit, files = self._watch([pool.submit(self._retried, hub.listing)])[0]
            cache = Cache(self.settings.cache, self.settings.model, commit)
            cache.discard_leftovers()
            self.progress.damaged = sum(cache.discard_damaged(file) for file in files)
            self.progress.start(cache, files)
            missing = [file for file in files if not cache.complete(file)]
            self._require_space(cache, missing)
            self.progress.state = "downloading" if missing else "verifying"
            # Large files first: the last one alone on the line would be the longest wait.
            order = sorted(files, key=lambda file: (cache.complete(file), -file.size))
            self._watch([pool.submit(self._provide, hub, cache, commit, file) for file in order])
            self._watch([pool.submit(self._retried, lambda: hub.set_reference(files))])
            self.progress.state = "complete"
        finally:
            self.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _watch(self, futures: t.Sequence[Future[t.Any]]) -> list[t.Any]:
        """The results, with a line of progress now and then; the first Stop ends it."""
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=self.settings.interval, return_when=FIRST_EXCEPTION)
            for future in done:
                if error := future.exception():
                    raise judge(error) or Stop("hub", one_line(error))
            now = time.monotonic()
            values = self.progress.measure(now)
            if pending:
                self.progress.print(values)
            idle = now - self.progress.moved
            if pending and now > self.deadline:
                done_gb, total_gb = values["done_bytes"] / 1e9, values["total_bytes"] / 1e9
                raise Stop("time", f"{done_gb:.2f} of {total_gb:.2f} GB are there after {now - self.started:.0f} s")
            if pending and idle > self.settings.patience:
                raise Stop("hub", f"no byte for {idle:.0f} s; last error: {self.progress.error or 'none'}")
        return [future.result() for future in futures]

    def _require_space(self, cache: Cache, missing: t.Sequence[File]) -> None:
        if not missing:
            return
        self.settings.cache.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self.settings.cache)
        present = cache.present(missing)
        needed = sum(file.size - present[file.blob] for file in missing)
        reserve = disk.total * self.settings.reserve_percent / 100
        if needed + reserve > disk.free:
            raise Stop(
                "disk",
                f"{needed / 1e9:.2f} GB are missing and {reserve / 1e9:.2f} GB must stay free "
                f"({self.settings.reserve_percent:g}% of the disk), but {disk.free / 1e9:.2f} GB are free",
            )

    def _provide(self, hub: Hub, cache: Cache, commit: str, file: File) -> None:
        """Download a file and look at its hash; a wrong one is downloaded again."""
        for _attempt in range(MISMATCHES):
            if not cache.complete(file):
                self._retried(lambda: hub.download(file, commit, cache))
            if not self.settings.verify or cache.verified(file):
                return
            if cache.matches(file):
                cache.set_verified(file)
                return
            cache.discard(file)
            self.progress.damaged += 1
            self.progress.state = "downloading"
        raise Stop("corrupt", f"{file.name} has another hash than the hub says, {MISMATCHES} times")

    def _retried(self, call: t.Callable[[], t.Any]) -> t.Any:
        attempt = 0
        while True:
            try:
                return call()
            except Exception as error:
                stop = judge(error)
                if stop:
                    raise stop from error
                self.progress.error = one_line(error)
                attempt += 1
                if self.stopped.wait(pause(error, attempt)):
                    raise Stop("hub", one_line(error)) from error


def parse(arguments: t.Sequence[str]) -> Settings:
    parser = argparse.ArgumentParser(description="Fill the model cache of this node.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--revision", default="main")
    parser.add_argument("--cache", type=Path, default=Path(os.environ.get("HF_HUB_CACHE", "/var/cache/huggingface")))
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=14400)
    parser.add_argument("--patience", type=float, default=1200)
    parser.add_argument("--reserve-percent", type=float, default=10)
    parser.add_argument("--interval", type=float, default=5)
    parser.add_argument("--no-verify", dest="verify", action="store_false")
    return Settings(**vars(parser.parse_args(arguments)))


def use_interpreter_of_vllm() -> None:
    """Go on with the Python that vLLM runs with, where the one in PATH is another and lacks the library."""
    program = shutil.which("vllm")
    if program is None or "WIDE_EP_PREFETCH_AGAIN" in os.environ:
        return
    with contextlib.suppress(OSError, UnicodeDecodeError):
        first = Path(program).read_text(encoding="utf-8").partition("\n")[0]
        if first.startswith("#!/") and "python" in first:
            os.environ["WIDE_EP_PREFETCH_AGAIN"] = "1"
            interpreter = first[2:].split()[0]
            os.execv(interpreter, [interpreter, *sys.argv])


def main(arguments: t.Sequence[str]) -> int:
    settings = parse(arguments)
    # As the first process of a container it would ignore the signal; what is on the disk is resumed either way.
    signal.signal(signal.SIGTERM, lambda *_arguments: os._exit(128 + signal.SIGTERM))
    # Resuming needs plain HTTP: a transfer by hf_xet starts a file anew. Read when the library is imported.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    run = Run(settings)
    reason, detail = "complete", ""
    try:
        run.execute()
    except Stop as stop:
        reason, detail = stop.reason, stop.detail
        if reason == "disk" and run.progress.cache:
            # A full disk makes the node evict its pods.
            run.progress.cache.discard_incomplete()
    seconds = time.monotonic() - run.started
    values = run.progress.measure(time.monotonic())
    rate = values["fetched_bytes"] / seconds if seconds else 0.0
    last = {"state": reason, "detail": detail, "seconds": round(seconds, 1), "bytes_per_second": round(rate)}
    run.progress.print({**values, **last})
    if detail:
        print(f"{reason}: {detail}", file=sys.stderr, flush=True)
    return EXITS[reason]


if __name__ == "__main__":
    if importlib.util.find_spec("huggingface_hub") is None:
        use_interpreter_of_vllm()
    code = main(sys.argv[1:])
    # Threads that still download would be waited for otherwise.
    os._exit(code)
