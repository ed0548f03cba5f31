# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tools of the build: output in a file, a heartbeat while they run, no orphan when they are stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from .errors import BuildError, advice

Command = Sequence[str | Path]
TICK_SECONDS = 0.5
EVIDENCE_LINES = 20


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, gently first."""
    for sig, limit in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        try:
            process.wait(limit)
            return
        except subprocess.TimeoutExpired:
            continue


def start(
    command: Command,
    *,
    output: IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a tool in a process group of its own, so that `stop` reaches its children too."""
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            env=dict(env) if env is not None else None,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout if stdout is not None else output,
            stderr=output,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not on this machine.", f"install {Path(command[0]).name}.") from error


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-EVIDENCE_LINES:])


def run(
    command: Command,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    tick: Callable[[], None] | None = None,
    stdout: IO[bytes] | None = None,
) -> str:
    """Run a tool to its end and return what it printed; its failure is a BuildError with the last lines."""
    with tempfile.TemporaryFile() as output:
        process = start(command, output=output, env=env, cwd=cwd, stdout=stdout)
        try:
            while True:
                try:
                    code = process.wait(TICK_SECONDS if tick else None)
                    break
                except subprocess.TimeoutExpired:
                    if tick:
                        tick()
        except BaseException:
            stop(process)
            raise
        output.seek(0)
        text = output.read().decode(errors="replace")
    if code != 0:
        raise BuildError(f"{_short(command)} failed (exit {code}).", advice(text), _tail(text))
    return text


def _short(command: Command) -> str:
    words = " ".join([Path(command[0]).name, *map(str, command[1:])])
    return f"`{words if len(words) <= 120 else words[:117] + '...'}`"
