# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the stages of the tests and print a ledger: what passed, what failed, what was NOT RUN and why.

A failing stage does not end the run; what needs it is not run. Exit code: 0 if no stage failed and one passed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from _paths import ROOT, cache_root
from _stages import Stage, all_stages, extended_stages

Outcome = Literal["passed", "failed", "NOT RUN"]
KEPT_LOGS = 20
TERMINATION_SECONDS = 15


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    name: str
    outcome: Outcome
    seconds: float = 0.0
    reason: str = ""


def select(stages: Sequence[Stage], wanted: str) -> tuple[list[Stage], list[str]]:
    """Return the stages that a comma-separated list of names and groups means, and the words that mean none."""
    words = [word for word in wanted.replace(",", " ").split() if word]
    if not words:
        return list(stages), []
    unknown = [word for word in words if not any(word in (stage.name, stage.group) for stage in stages)]
    return [stage for stage in stages if stage.name in words or stage.group in words], unknown


def reason_not_to_run(stage: Stage, done: dict[str, Entry], minutes_left: float | None) -> str:
    """Return why a stage is not run, or nothing. What it needs counts only if it is part of this run."""
    broken = [name for name in stage.after if name in done and done[name].outcome != "passed"]
    if broken:
        return f"{', '.join(broken)} did not pass"
    absent = stage.missing()
    if absent:
        return absent
    if minutes_left is not None and stage.minutes > minutes_left:
        return f"takes about {stage.minutes:g} min, the budget has {max(0.0, minutes_left):.1f} left"
    return ""


def ledger(entries: Iterable[Entry], total: float) -> list[str]:
    """Return the ledger's lines; the last one is the count."""
    entries = list(entries)
    width = max([len(entry.name) for entry in entries] + [5])
    lines = [f"{'stage':<{width}}  seconds  outcome"]
    for entry in entries:
        seconds = f"{entry.seconds:7.1f}" if entry.outcome != "NOT RUN" else "      -"
        reason = f": {entry.reason}" if entry.reason else ""
        lines.append(f"{entry.name:<{width}}  {seconds}  {entry.outcome}{reason}")
    counts = {
        outcome: sum(entry.outcome == outcome for entry in entries) for outcome in ("passed", "failed", "NOT RUN")
    }
    lines += [f"{'total':<{width}}  {total:7.1f}", ""]
    lines.append(f"{counts['passed']} passed, {counts['failed']} failed, {counts['NOT RUN']} skipped")
    return lines


def exit_code(entries: Iterable[Entry]) -> int:
    """Return 0 only if something passed and nothing failed."""
    outcomes = [entry.outcome for entry in entries]
    return 0 if "passed" in outcomes and "failed" not in outcomes else 1


def stage_environment(stage: Stage) -> dict[str, str]:
    """Return the environment of a stage: this environment's programs first, no colors, nothing of an outer run."""
    dropped = ("LLMD_WIDE_EP_RUN_ID", "ANSIBLE_CONFIG")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath)))
    plain = {"PYTHONUNBUFFERED": "1", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1", "PY_COLORS": "0"}
    return {**kept, **plain, "PATH": path, **stage.environment}


class Runner:
    """Runs stages, streams their output and ends them at their limit."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._print_lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def say(self, text: str) -> None:
        """Print a whole line."""
        with self._print_lock:
            print(text, flush=True)

    def run(self, stage: Stage) -> Entry:
        """Run one stage to its end."""
        started = time.monotonic()
        self.say(f"==> {stage.name}")
        log = self.logs / f"{stage.name.replace('/', '-')}.log"
        try:
            code = self._run_logged(stage, log)
            reason = f"exit code {code}; log {log}" if code else ""
        except subprocess.TimeoutExpired:
            reason = f"ended after its limit of {stage.limit:g} min; log {log}"
        except OSError as error:
            reason = f"cannot start: {error}"
        entry = Entry(stage.name, "failed" if reason else "passed", time.monotonic() - started, reason)
        self.say(f"<== {stage.name}: {entry.outcome} ({entry.seconds:.1f} s)")
        return entry

    def _run_logged(self, stage: Stage, log: Path) -> int:
        process = subprocess.Popen(
            stage.command,
            cwd=ROOT,
            env=stage_environment(stage),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._running[process.pid] = process
        reader = threading.Thread(target=self._copy, args=(stage.name, process, log), daemon=True)
        reader.start()
        try:
            return process.wait(timeout=stage.limit * 60)
        except subprocess.TimeoutExpired:
            end_group(process)
            raise
        finally:
            # Not without end: a daemon that the stage leaves behind may hold its output open.
            reader.join(timeout=5)
            self._running.pop(process.pid, None)

    def _copy(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        assert process.stdout is not None
        with open(log, "wb", buffering=0) as handle:
            for line in process.stdout:
                handle.write(line)
                self.say(f"[{name}] {line.decode(errors='replace').rstrip()}")

    def end_all(self) -> None:
        """End the stages under way."""
        for process in list(self._running.values()):
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a stage and its children: politely first, so that they can clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=TERMINATION_SECONDS)
            return


def run_stages(stages: Sequence[Stage], runner: Runner, budget: float | None, jobs: int) -> list[Entry]:
    """Run the parallel stages, a few at a time, then the others one by one; each only if nothing speaks against it."""
    began = time.monotonic()
    done: dict[str, Entry] = {}

    def attempt(stage: Stage) -> None:
        left = None if budget is None else budget - (time.monotonic() - began) / 60
        reason = reason_not_to_run(stage, done, left)
        done[stage.name] = Entry(stage.name, "NOT RUN", reason=reason) if reason else runner.run(stage)
        if reason:
            runner.say(f"--- {stage.name}: NOT RUN: {reason}")

    try:
        with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
            list(pool.map(attempt, [stage for stage in stages if stage.parallel]))
        for stage in stages:
            if not stage.parallel:
                attempt(stage)
    except KeyboardInterrupt:
        runner.end_all()
        for stage in stages:
            done.setdefault(stage.name, Entry(stage.name, "NOT RUN", reason="interrupted"))
    return [done[stage.name] for stage in stages]


def make_log_folder() -> Path:
    """Return a new folder for this run's logs; the oldest ones are removed."""
    parent = cache_root() / "logs"
    parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(parent.iterdir())[: -KEPT_LOGS or None]:
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
    folder.mkdir()
    return folder


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default="", help="names or groups, separated by commas; default: all")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="leave out what would not fit into this time")
    parser.add_argument("--jobs", type=int, default=2, help="parallel stages at a time (only those that share nothing)")
    parser.add_argument("--extended", action="store_true", help="also what takes long: faults of clusters and releases")
    parser.add_argument("--list", action="store_true", help="print the stages' names")
    return parser.parse_args()


def main() -> int:
    """Run the chosen stages."""
    arguments = parse_arguments()
    known = extended_stages(ROOT) if arguments.extended else all_stages(ROOT)
    stages, unknown = select(known, arguments.stages)
    if unknown:
        print(f"test: no stage or group is named {', '.join(unknown)}; see --list", file=sys.stderr)
        return 2
    if arguments.list:
        print("\n".join(stage.name for stage in stages))
        return 0
    # A shell that starts this in the background without job control has it ignore SIGINT, and the stages inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    entries = run_stages(stages, Runner(make_log_folder()), arguments.budget, arguments.jobs)
    print("\n" + "\n".join(ledger(entries, time.monotonic() - began)), flush=True)
    return 130 if any(entry.reason == "interrupted" for entry in entries) else exit_code(entries)


if __name__ == "__main__":
    sys.exit(main())
