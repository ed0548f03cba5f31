# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: phases
type: aggregate
short_description: Name each run, time its phases and print what they found
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - A phase is a playbook; a play belongs to the phase whose playbook it stands in, also when that is imported.
  - Gives each run an id, E(LLMD_WIDE_EP_RUN_ID), which names the folder of the run's results.
  - At the end it prints seconds, changes and outcome of each phase, what the phases recorded with
    M(llmd.wide_ep.phase_result), and how to go on after a failure. Where M(llmd.wide_ep.gpu_minutes) counted GPUs, it
    tells how many of their minutes passed in each phase before the deployment served.
  - Writes the same to C(run.json) beside the phases' files.
  - It never fails a run; what it cannot do becomes a warning.
requirements:
  - enable in configuration, for example C(callbacks_enabled = llmd.wide_ep.phases)
"""

import atexit
import functools
import importlib
import os
import time
import typing as t
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._phases import (
    RUN_ID,
    RUN_ID_VARIABLE,
    Failure,
    PhaseResult,
    Recorder,
    interrupted_lines,
    new_run_id,
    parse_result,
    render,
    run_folder,
    timestamp,
    write_document,
)

RESULT_ACTION = "llmd.wide_ep.phase_result"
METER_ACTION = "llmd.wide_ep.gpu_minutes"
# Actions run in children forked from this process: a client imported once here is not imported by each of them.
PRELOADED = ("kubernetes.client", "kubernetes.config")

Handler = t.Callable[..., None]


def guarded(handler: Handler) -> Handler:
    """Turn every error of a handler into a warning."""

    @functools.wraps(handler)
    def wrapper(self: CallbackModule, *args: t.Any, **kwargs: t.Any) -> None:
        try:
            handler(self, *args, **kwargs)
        except Exception as error:
            self._display.warning(f"llmd.wide_ep.phases: the run's summary is incomplete: {error!r}")

    return wrapper


def preload(names: t.Sequence[str] = PRELOADED) -> None:
    for name in names:
        # Whatever goes wrong here is told, with a fix, by the task that needs the package.
        try:
            importlib.import_module(name)
        except Exception:
            return


def phase_of(play: t.Any) -> str:
    """The stem of the playbook file in which a play stands."""
    path = str(play.get_path()).rpartition(":")[0]
    return Path(path).stem if path else str(play.get_name())


def message_of(result: t.Mapping[str, t.Any]) -> str:
    for item in result.get("results") or ():
        if isinstance(item, dict) and item.get("failed"):
            return str(item.get("msg") or result.get("msg") or "")
    return str(result.get("msg") or result.get("censored") or "")


def displayed(folder: Path) -> str:
    """A folder relative to the current one where that is shorter."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "llmd.wide_ep.phases"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorder: Recorder | None = None
        self._play: t.Any = None
        self._pid = os.getpid()
        atexit.register(self._at_exit)

    @guarded
    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        given = os.environ.get(RUN_ID_VARIABLE, "")
        run_id = given if RUN_ID.fullmatch(given) else new_run_id(time.time())
        os.environ[RUN_ID_VARIABLE] = run_id
        mode: t.Literal["apply", "check"] = "check" if context.CLIARGS.get("check") else "apply"
        expected = [phase_of(play) for play in playbook.get_plays()]
        self._recorder = Recorder(run_id, mode, expected, time.monotonic(), time.time() - time.monotonic())
        preload()

    @guarded
    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._play = play
        if self._recorder:
            self._recorder.enter(phase_of(play), time.monotonic())

    @guarded
    def v2_runner_on_ok(self, result: t.Any) -> None:
        if not self._recorder:
            return
        self._recorder.task_done(bool(result.result.get("changed")))
        if result.task.resolved_action == RESULT_ACTION:
            self._collect(result.result.get("phase_result") or {})
        if result.task.resolved_action == METER_ACTION and result.result.get("counted"):
            self._recorder.count_gpus(result.host.get_name(), result.result["spans"], time.monotonic())

    def _collect(self, recorded: t.Mapping[str, t.Any]) -> None:
        if self._recorder and recorded:
            parsed: PhaseResult = parse_result(recorded, str(recorded["release"]), str(recorded["host"]))
            path = recorded.get("path")
            self._recorder.add(parsed, Path(path).parent if path else None)

    @guarded
    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        if self._recorder and not ignore_errors:
            message = message_of(result.result)
            self._recorder.task_failed(Failure(result.host.get_name(), result.task.get_name(), message))

    @guarded
    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self.v2_runner_on_failed(result)

    @guarded
    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        if not self._recorder:
            return
        recorder, self._recorder = self._recorder, None
        recorder.finish(bool(stats.failures or stats.dark), time.monotonic())
        folders = {} if recorder.mode == "check" else recorder.folders or self._default_folders(recorder.run_id)
        for host, folder in folders.items():
            write_document(folder / "run.json", recorder.document(host, timestamp(time.time())))
        for line in render(recorder, [displayed(folder) for folder in folders.values()]):
            self._display.display(line)

    def _default_folders(self, run_id: str) -> dict[str, Path]:
        """Where the run's record belongs when no phase recorded anything, which is so when an early one fails."""
        manager = self._play.get_variable_manager()
        folders = {}
        for host in manager._inventory.get_hosts(self._play.hosts):
            variables = manager.get_vars(play=self._play, host=host)
            if "wide_ep_release" not in variables or "wide_ep_artifacts_dir" not in variables:
                continue
            templar = Templar(loader=manager._loader, variables=variables)
            release, parent = (templar.template(variables[f"wide_ep_{name}"]) for name in ("release", "artifacts_dir"))
            folders[host.get_name()] = run_folder(parent, release, run_id)
        return folders

    @guarded
    def _at_exit(self) -> None:
        # Children inherit the registration; only the process that saw the run start may speak of its end.
        if self._recorder and os.getpid() == self._pid:
            for line in interrupted_lines(self._recorder):
                self._display.display(line)
