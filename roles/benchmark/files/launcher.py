# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the load of a benchmark in its pod, apart from whoever watches it.

The main process of the pod, with nothing but the standard library (Python 3.11 or newer). Whatever happens to the
connection of the one who started it, the load goes on, ends at its own deadline with all its processes, and leaves a
marker that says how it ended. It collects; what the results mean is judged outside.

Usage: launcher.py INPUT.json
       launcher.py send FILE OFFSET LENGTH

The first runs; progress goes to standard output, one line each, after a mark. The second prints a part of a file,
compressed, as text: what an exec can carry whole.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

MARK = "@benchmark "
SCHEMA = 1
PACKAGE = "inference-perf"
MARKER, INDEX = "run.json", "index.json"
#: Counters of model servers that tell what they have served.
KEPT = (
    "vllm:request_success_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "process_start_time_seconds",
)
CHUNK = 1 << 20
KEPT_TEXT = 400
#: After a polite end, seconds until a process group is killed.
GRACE = 10.0

#: What rich draws where it believes in a terminal, and nowhere else.
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COUNT = re.compile(r"Stage (\d+) (?:Requests|Progress)\b.*?(\d+)/(\d+)")
DRAWN = re.compile(r"^\s*(?:Overall Progress|Stage \d+ (?:Requests|Progress|Sessions))\b")
#: One line for each request that the tool gives up. Its loggers are named after its modules.
FAILED = re.compile(r" - inference_perf\.client\.\S+ - ERROR - ")

Json = dict[str, t.Any]


class StopError(Exception):
    """The run cannot go on; ``reason`` is a word, str() the evidence."""

    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(evidence)
        self.reason = reason


def say(**frame: t.Any) -> None:
    print(MARK + json.dumps(frame, sort_keys=True), flush=True)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


# The endpoint


def call(method: str, url: str, body: Json | None, timeout: float) -> tuple[int, str]:
    """Status and text of an answer; OSError where there is none."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    payload = None if body is None else json.dumps(body)
    try:
        connection.request(method, parts.path, payload, {"Content-Type": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


def words_of(error: OSError) -> str:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__


def check_endpoint(plan: Json) -> None:
    """The endpoint serves the model and answers; the first answer may wait for kernels to be compiled."""
    base, model = plan["base_url"], plan["model"]
    text = answered(plan, "GET", f"{base}/v1/models", None, plan["connect_timeout"])
    try:
        served = sorted(str(entry["id"]) for entry in json.loads(text)["data"])
    except (ValueError, TypeError, KeyError) as error:
        raise StopError("endpoint", f"GET {base}/v1/models: no list of models in {text[:KEPT_TEXT]!r}") from error
    if model not in served:
        raise StopError("model", f"{base} serves {', '.join(served) or 'no model'}, not {model}")
    body = {"model": model, "prompt": "Hello", "max_tokens": 1}
    answered(plan, "POST", f"{base}/v1/completions", body, plan["first_answer_timeout"])


def answered(plan: Json, method: str, url: str, body: Json | None, limit: float) -> str:
    """The text of status 200, tried again until the limit; what is refused for good is not tried again."""
    deadline, said = time.monotonic() + limit, 0.0
    while True:
        left = max(1.0, deadline - time.monotonic())
        try:
            status, text = call(method, url, body, left)
            seen = f"status {status}: {text[:KEPT_TEXT]}"
            if status == 200:
                return text
            if 400 <= status < 500 and status not in (404, 408, 425, 429):
                raise StopError("endpoint", f"{method} {url}: {seen}")
        except OSError as error:
            seen = words_of(error)
        if time.monotonic() >= deadline:
            raise StopError("endpoint", f"{method} {url}: {seen}; tried for {limit:.0f} s")
        if time.monotonic() - said > 10:
            said = time.monotonic()
            say(state="checking", note=f"{method} {url}: {seen}"[:KEPT_TEXT], left=round(deadline - time.monotonic()))
        time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))


def scrape(target: Json) -> Json:
    found = {"pod": target["pod"], "role": target["role"], "port": target["port"], "lines": []}
    try:
        status, text = call("GET", f"http://{target['host']}:{target['port']}/metrics", None, 10.0)
    except OSError as error:
        return {**found, "error": words_of(error)}
    if status != 200:
        return {**found, "error": f"status {status}"}
    return {**found, "lines": [line for line in text.splitlines() if line.startswith(KEPT)]}


def counters(plan: Json) -> list[Json]:
    targets = plan.get("targets") or []
    if not targets:
        return []
    with ThreadPoolExecutor(min(32, len(targets))) as pool:
        return list(pool.map(scrape, targets))


# The load


class Load:
    """One run of the tool in a process group of its own."""

    def __init__(self, plan: Json, run: Json, folder: Path) -> None:
        self.plan, self.run, self.folder = plan, run, folder
        self.done, self.failures = 0, 0
        self.counted: float | None = None
        self.changed = 0.0
        self.started = time.monotonic()
        self.trouble: OSError | None = None

    def execute(self) -> tuple[int | None, bool]:
        """Exit code (None where it was killed at the deadline), and whether the deadline was met."""
        # Rich shows counts only to a terminal; these make it believe in one.
        shown = {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "160", "PYTHONUNBUFFERED": "1", "TZ": "UTC"}
        command = [*self.plan["command"], "--config_file", str(self.folder / f"{self.run['profile']}.yaml")]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **shown},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            on_time = self._wait(process)
        finally:
            # The tool's workers outlive it where it is killed, and would go on loading the server.
            end_group(process)
        reader.join(GRACE)
        if self.trouble is not None:
            raise self.trouble
        return (process.returncode if on_time else None), on_time

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        deadline, said = self.started + self.plan["deadline"], 0.0
        while process.poll() is None:
            if time.monotonic() >= deadline:
                return False
            if self.trouble is not None:
                return True
            if time.monotonic() - said >= self.plan["report_every"]:
                said = time.monotonic()
                self.report()
            time.sleep(0.2)
        self.report()
        return True

    def report(self) -> None:
        elapsed = time.monotonic() - self.started
        frame: Json = {
            "state": "running",
            "run": self.run["number"],
            "runs": len(self.plan["runs"]),
            "profile": self.run["profile"],
            "done": self.done,
            "total": self.run["requests"],
            "failures": self.failures,
            "elapsed": round(elapsed, 1),
            "deadline_left": round(self.plan["deadline"] - elapsed),
        }
        if self.counted is not None and self.done:
            rate = self.done / max(0.001, self.changed - self.counted)
            frame["rate"] = round(rate, 2)
            frame["left"] = round((self.run["requests"] - self.done) / rate)
        say(**frame)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Counts out of what the tool prints; the rest is its log."""
        assert process.stdout is not None
        try:
            with (self.folder / "stdout.log").open("a", encoding="utf-8") as log:
                for line in lines_of(process.stdout):
                    self._line(line, log)
        except OSError as error:
            self.trouble = error
            shutil.copyfileobj(process.stdout, Sink())

    def _line(self, line: str, log: t.TextIO) -> None:
        counts = COUNT.findall(line)
        if counts:
            self.counted = self.counted or time.monotonic()
            done = int(counts[-1][1])
            if done != self.done:
                self.done, self.changed = done, time.monotonic()
        if DRAWN.match(line) or not line.strip():
            return
        if FAILED.search(line):
            self.failures += 1
        log.write(line + "\n")
        log.flush()


class Sink:
    """Takes everything and keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


def lines_of(stream: t.IO[bytes]) -> t.Iterator[str]:
    """Lines without what moves a cursor or colors; a redrawn line ends as well."""
    rest = b""
    while True:
        data = os.read(stream.fileno(), 1 << 16)
        *whole, rest = re.split(rb"[\r\n]", rest + data)
        for line in whole + ([rest] if not data else []):
            yield ANSI.sub("", line.decode("utf-8", errors="replace")).rstrip()
        if not data:
            return


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End all processes of the load, also those whose parent is gone."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        except PermissionError:
            break
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except (ProcessLookupError, PermissionError):
                break
            reap()
            time.sleep(0.05)
    process.wait()


def reap() -> None:
    """As the pod's first process this one inherits orphans; an unreaped one would keep its group alive."""
    if os.getpid() != 1:
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != 1:
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z" and fields[1] == "1":
                    os.waitpid(int(entry.name), os.WNOHANG)
            except (OSError, IndexError):
                continue


def run_one(plan: Json, run: Json, root: Path) -> Json:
    """One repeat of one profile. Its marker is the last file that is written."""
    folder = root / run["folder"]
    folder.mkdir(parents=True)
    text = Path(plan["profiles"], f"{run['profile']}.yaml").read_text(encoding="utf-8")
    seed = zlib.crc32(plan["experiment"].encode()) % 1_000_000 * 1000 + run["number"]
    (folder / f"{run['profile']}.yaml").write_text(configured(text, str(folder), seed), encoding="utf-8")
    marker: Json = {"schema": SCHEMA, **run, "start": now(), "tool_version": tool_version()}
    marker["counters"] = {"before": counters(plan)}
    load = Load(plan, run, folder)
    code, on_time = load.execute()
    marker["counters"]["after"] = counters(plan)
    marker |= {"end": now(), "exit_code": code, "done": load.done, "failed_lines": load.failures}
    marker |= {"seconds": round(time.monotonic() - load.started, 3), **ending(folder, code, on_time, plan)}
    write(folder / MARKER, marker)
    return marker


def configured(text: str, folder: str, seed: int) -> str:
    """The profile with its own folder, and prompts of its own: a repeated prompt would be served from prefix caches."""
    text = text.replace("@results@", folder)
    return re.sub(r"(?m)^(\s*base_seed:\s*)(\d+)\s*$", lambda found: f"{found[1]}{int(found[2]) + seed}", text)


def ending(folder: Path, code: int | None, on_time: bool, plan: Json) -> Json:
    """How it ended, by what is there: the tool ends with 0 when every request failed, and when it wrote nothing."""
    if not on_time:
        return {"state": "deadline", "evidence": f"it was killed after {plan['deadline']:g} s"}
    if code is not None and code < 0:
        return {"state": "killed", "evidence": f"it was ended by signal {-code} ({signal.Signals(-code).name})"}
    if code:
        return {"state": "failed", "evidence": f"it ended with {code}: {last_words(folder)}"}
    if not any(folder.glob("stage_*_lifecycle_metrics.json")):
        return {"state": "empty", "evidence": f"it ended with 0 and wrote no stage file: {last_words(folder)}"}
    return {"state": "complete", "evidence": ""}


def last_words(folder: Path) -> str:
    """The last lines that say something: of a traceback the error, not the frames."""
    try:
        lines = (folder / "stdout.log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it printed nothing"
    said = [line.strip() for line in lines if line.strip() and not line.startswith((" ", "Traceback"))]
    return " | ".join(said[-3:])[-2 * KEPT_TEXT :] or "it printed nothing"


def tool_version() -> str:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def write(path: Path, content: Json) -> None:
    """Whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def index(root: Path) -> Json:
    """Every file with size and checksum."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != INDEX:
            state = hashlib.sha256()
            with path.open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    state.update(chunk)
            found[path.relative_to(root).as_posix()] = {"size": path.stat().st_size, "sha256": state.hexdigest()}
    return {"schema": SCHEMA, "files": found}


def check_tool(plan: Json) -> None:
    """The configuration is that of one release; another one ignores or refuses parts of it."""
    if not shutil.which(plan["command"][0]):
        raise StopError("tool", f"there is no program {plan['command'][0]} in this image")
    found, wanted = tool_version(), plan["release"]
    if found and found.split(".")[:2] != wanted.lstrip("v").split(".")[:2]:
        raise StopError("release", f"the image holds {PACKAGE} {found}, the configuration is for {wanted}")


def execute(plan: Json, root: Path) -> Json:
    """All runs, until one fails: what is wrong with one is wrong with the next."""
    ended: Json = {"state": "complete", "evidence": "", "runs": []}
    try:
        if root.exists() and any(root.iterdir()):
            raise StopError("folder", f"{root} is not empty: another run has written there")
        root.mkdir(parents=True, exist_ok=True)
        check_tool(plan)
        say(state="checking", note=f"is {plan['model']} served by {plan['base_url']}?")
        check_endpoint(plan)
        for run in plan["runs"]:
            marker = run_one(plan, run, root)
            ended["runs"].append({name: marker[name] for name in ("number", "folder", "state", "evidence")})
            if marker["state"] != "complete":
                ended |= {"state": marker["state"], "evidence": marker["evidence"]}
                break
        write(root / INDEX, index(root))
        ended["index"] = hashlib.sha256((root / INDEX).read_bytes()).hexdigest()
    except StopError as stop:
        ended |= {"state": stop.reason, "evidence": str(stop)}
    except OSError as error:
        reason = "disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "system"
        ended |= {"state": reason, "evidence": f"{error.strerror} ({error.filename or root})"}
    return ended


def send(path: str, offset: int, length: int) -> None:
    with Path(path).open("rb") as stream:
        stream.seek(offset)
        print(base64.b64encode(zlib.compress(stream.read(length), 6)).decode("ascii"), flush=True)


def main() -> int:
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return 0
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    root = Path(plan["results"]) / plan["experiment"]
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    ended = execute(plan, root)
    deadline = time.monotonic() + plan["keep"]
    while True:
        # Said again and again: the log of a pod may be rotated.
        say(**{**ended, "state": "ended", "outcome": ended["state"], "kept": round(deadline - time.monotonic())})
        if plan["keep"] <= 0 or time.monotonic() >= deadline:
            return 0 if ended["state"] == "complete" else 1
        time.sleep(min(30.0, max(0.0, deadline - time.monotonic())))


if __name__ == "__main__":
    sys.exit(main())
