# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did, phase by phase: its record, its files and its summary. Private to the collection."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import re
import secrets
import tempfile
import textwrap
import time
import typing as t
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gpu_minutes as gpu_minutes

RUN_ID_VARIABLE = "LLMD_WIDE_EP_RUN_ID"
RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,62}")
PHASE_NAME = re.compile(r"[a-z][a-z0-9_]*")
PHASE_SCHEMA = {"schema": "llmd.wide_ep/phase", "version": 1}
RUN_SCHEMA = {"schema": "llmd.wide_ep/run", "version": 1}
WIDTH = 100
#: Until this phase ends, the deployment does not serve.
SERVING_PHASE = "wait"
# A failing task's message is printed where it fails; the summary repeats no more than this of it.
MESSAGE_LINES = 12

Mode = t.Literal["apply", "check"]


class PhaseError(Exception):
    """A phase's result cannot be recorded as it was given."""


@dataclasses.dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[t.Any, ...], ...]

    def as_dict(self) -> dict[str, t.Any]:
        return {"title": self.title, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}


@dataclasses.dataclass(frozen=True)
class PhaseResult:
    """What a phase wants to be remembered for."""

    phase: str
    release: str
    host: str
    summary: tuple[tuple[str, t.Any], ...] = ()
    tables: tuple[Table, ...] = ()
    data: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, t.Any]:
        """The result without its data, which can be large: the file has them."""
        return {
            "phase": self.phase,
            "release": self.release,
            "host": self.host,
            "summary": [list(pair) for pair in self.summary],
            "tables": [table.as_dict() for table in self.tables],
        }

    def document(self, run_id: str, mode: Mode, written: str) -> dict[str, t.Any]:
        """The content of the phase's file."""
        return {**PHASE_SCHEMA, "run_id": run_id, "mode": mode, "written": written, **self.as_dict(), "data": self.data}


@dataclasses.dataclass(frozen=True)
class Failure:
    host: str
    task: str
    message: str


@dataclasses.dataclass
class Phase:
    """One playbook's share of the run; mutable because a callback learns it event by event."""

    name: str
    seconds: float = 0.0
    changed: int = 0
    tasks: int = 0
    started: bool = False
    began: float = 0.0
    ended: float = 0.0
    failure: Failure | None = None

    def outcome(self, run_failed: bool) -> str:
        # A failure in a run that did not fail was rescued.
        if self.failure and run_failed:
            return "failed"
        if not self.started:
            return "not reached"
        if not self.tasks:
            return "nothing to do"
        return "changed" if self.changed else "ok"


class Recorder:
    """Collects the events of one run; every method is called with the time, so that tests own the clock.

    ``epoch`` is what such a time lacks to seconds since the epoch, in which nodes tell when they were made.
    """

    def __init__(self, run_id: str, mode: Mode, expected: t.Iterable[str], now: float, epoch: float = 0.0) -> None:
        self.run_id = run_id
        self.mode = mode
        self.began = now
        self.ended: float | None = None
        self.failed = False
        self.phases: dict[str, Phase] = {name: Phase(name) for name in expected}
        self.results: dict[tuple[str, str], PhaseResult] = {}
        self.folders: dict[str, Path] = {}
        self.epoch = epoch
        self._gpus: dict[str, collections.Counter[gpu_minutes.Span]] = {}
        self._current: Phase | None = None
        self._since = now

    def enter(self, name: str, now: float) -> None:
        """A play of the phase starts; it ends the one before it."""
        self._leave(now)
        self._current = self.phases.setdefault(name, Phase(name))
        if not self._current.started:
            self._current.began = now
        self._current.started = True
        self._since = now

    def _leave(self, now: float) -> None:
        if self._current:
            self._current.seconds += now - self._since
            self._current.ended = now
            self._current = None

    def task_done(self, changed: bool) -> None:
        if self._current:
            self._current.tasks += 1
            self._current.changed += int(changed)

    def task_failed(self, failure: Failure) -> None:
        if self._current:
            self._current.tasks += 1
            self._current.failure = failure

    def add(self, result: PhaseResult, folder: Path | None) -> None:
        """Keep a phase's result; a second one of the phase replaces the first, as its file does."""
        self.results[(result.host, result.phase)] = result
        if folder:
            self.folders[result.host] = folder

    def count_gpus(self, host: str, spans: t.Iterable[t.Mapping[str, t.Any]], now: float) -> None:
        """Keep which GPUs the cluster of a host has; those that a later look does not find are gone since then."""
        seen = collections.Counter(gpu_minutes.Span(span["gpus"], span["since"]) for span in spans)
        known = self._gpus.get(host, collections.Counter())
        alive = collections.Counter({span: count for span, count in known.items() if span.until is None})
        gone = {dataclasses.replace(span, until=now + self.epoch): count for span, count in (alive - seen).items()}
        self._gpus[host] = (known - alive) + collections.Counter(gone) + seen

    @property
    def spans(self) -> list[gpu_minutes.Span]:
        """All of them; hosts of one cluster have counted the same ones."""
        union: collections.Counter[gpu_minutes.Span] = collections.Counter()
        for counted in self._gpus.values():
            union |= counted
        return list(union.elements())

    @property
    def gpu_phases(self) -> dict[str, gpu_minutes.PhaseMinutes]:
        """GPU minutes of each phase; empty where no GPU was counted."""
        if not self.spans:
            return {}
        stretches = [
            gpu_minutes.Stretch(phase.name, phase.began + self.epoch, phase.ended + self.epoch)
            for phase in self.phases.values()
            if phase.started
        ]
        found = gpu_minutes.by_phase(self.spans, stretches, self._serving_since)
        return {item.name: item for item in found}

    @property
    def _serving_since(self) -> float | None:
        """When the deployment began to serve; it did before the run where the run applied nothing to it."""
        waited = self.phases.get(SERVING_PHASE)
        if waited is None or not waited.ended or waited.failure:
            return None
        applied = any(phase.changed for phase in self.phases.values() if phase.started and phase.began < waited.began)
        return (waited.ended if applied else self.began) + self.epoch

    def finish(self, failed: bool, now: float) -> None:
        self._leave(now)
        self.failed = failed
        self.ended = now

    @property
    def total_seconds(self) -> float:
        return (self.began if self.ended is None else self.ended) - self.began

    @property
    def failing(self) -> Phase | None:
        """The phase that ended the run: the last one in which a task failed."""
        failed = [phase for phase in self.phases.values() if phase.failure]
        return failed[-1] if self.failed and failed else None

    def document(self, host: str | None, written: str) -> dict[str, t.Any]:
        """The content of run.json for one host's folder."""
        counted = self.gpu_phases
        rows = [
            {
                "phase": phase.name,
                "outcome": phase.outcome(self.failed),
                "seconds": round(phase.seconds, 3),
                "changed": phase.changed,
                "tasks": phase.tasks,
                **(
                    {"gpu_minutes": round(minutes.total, 1), "idle_gpu_minutes": round(minutes.idle, 1)}
                    if (minutes := counted.get(phase.name))
                    else {}
                ),
            }
            for phase in self.phases.values()
        ]
        return {
            **RUN_SCHEMA,
            "run_id": self.run_id,
            "mode": self.mode,
            "written": written,
            "outcome": "failed" if self.failed else "ok",
            "seconds": round(self.total_seconds, 3),
            "changed": sum(phase.changed for phase in self.phases.values()),
            "phases": rows,
            "failure": dataclasses.asdict(self.failing.failure) if self.failing and self.failing.failure else None,
            "results": [result.as_dict() for (owner, _phase), result in self.results.items() if owner == host],
        }


def new_run_id(now: float) -> str:
    """A name that sorts by time and that two runs of one second do not share."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(2)}"


def timestamp(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def parse_result(arguments: t.Mapping[str, t.Any], release: str, host: str) -> PhaseResult:
    """Judge the shape of a phase's result."""
    phase = str(arguments["phase"])
    if not PHASE_NAME.fullmatch(phase):
        raise PhaseError(f"phase {phase!r} is not a playbook's name: lower case letters, digits and underscores")
    pairs = arguments.get("summary") or []
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise PhaseError(f"summary of phase {phase}: each entry is [label, value], got {pair!r}")
    tables = tuple(parse_table(phase, table) for table in arguments.get("tables") or [])
    data = arguments.get("data") or {}
    return PhaseResult(phase, release, host, tuple((label, value) for label, value in pairs), tables, data)


def parse_table(phase: str, table: t.Mapping[str, t.Any]) -> Table:
    unknown = sorted(set(table) - {"title", "columns", "rows"})
    if unknown or not table.get("title") or not table.get("columns"):
        raise PhaseError(f"table of phase {phase} needs title, columns and rows, got the keys {sorted(table)}")
    parsed = Table(str(table["title"]), tuple(map(str, table["columns"])), tuple(map(tuple, table.get("rows") or [])))
    for row in parsed.rows:
        if len(row) != len(parsed.columns):
            raise PhaseError(f"table {parsed.title!r} has {len(parsed.columns)} columns, got the row {list(row)}")
    return parsed


def run_folder(artifacts_dir: str, release: str, run_id: str) -> Path:
    if not RUN_ID.fullmatch(run_id):
        raise PhaseError(f"{RUN_ID_VARIABLE} is {run_id!r}: letters, digits, dot, dash and underscore only, at most 63")
    return Path(artifacts_dir).expanduser().absolute() / release / run_id


def as_json(document: t.Mapping[str, t.Any]) -> str:
    """Top-level keys in their given order, those of ``data`` sorted, so that two runs can be compared by diff."""
    ordered = {key: json.loads(json.dumps(value, sort_keys=key == "data")) for key, value in document.items()}
    return json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"


def write_document(path: Path, document: t.Mapping[str, t.Any]) -> None:
    """Write a file that its readers see whole or not at all."""
    text = as_json(document)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def shown(value: t.Any) -> str:
    """A value as one line of text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value)
    return " ".join(str(value).split())


def fit_columns(widths: t.Sequence[int], available: int) -> list[int]:
    """Narrow the widest columns until all of them fit, none below 8 characters."""
    fitted = list(widths)
    while sum(fitted) > available and max(fitted) > 8:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-|[-+]?[0-9][0-9.,]*%?", text))


def table_lines(table: Table, indent: str = "  ", width: int = WIDTH) -> list[str]:
    """A table as lines; columns of numbers are flush right."""
    cells = [[shown(value) for value in row] for row in table.rows]
    columns = list(zip(*cells, strict=True)) if cells else [() for _column in table.columns]
    natural = [max(map(len, (head, *column))) for head, column in zip(table.columns, columns, strict=True)]
    room = width - len(indent) - 2 * (len(natural) - 1)
    widths = fit_columns(natural, room)
    right = [bool(column) and all(map(is_number, column)) for column in columns]

    def line(values: t.Sequence[str]) -> str:
        parts = [
            cut(value, size).rjust(size) if flush else cut(value, size).ljust(size)
            for value, size, flush in zip(values, widths, right, strict=True)
        ]
        return (indent + "  ".join(parts)).rstrip()

    return [line(table.columns), line(["-" * size for size in widths]), *(line(row) for row in cells)]


def summary_lines(pairs: t.Sequence[tuple[str, t.Any]], indent: str = "  ", width: int = WIDTH) -> list[str]:
    """Labels and values; a long value goes on under itself."""
    label_width = min(28, max((len(label) for label, _value in pairs), default=0))
    lines: list[str] = []
    for label, value in pairs:
        head = f"{indent}{label:<{label_width}}  "
        below = " " * (len(indent) + label_width + 2)
        lines += textwrap.wrap(shown(value) or "-", width, initial_indent=head, subsequent_indent=below)
    return lines


def result_lines(results: t.Iterable[PhaseResult]) -> list[str]:
    shown_results = [result for result in results if result.summary or result.tables]
    several = len({result.host for result in shown_results}) > 1
    lines: list[str] = []
    for result in shown_results:
        lines += ["", f"{result.phase} ({result.host})" if several else result.phase]
        lines += summary_lines(result.summary)
        for table in result.tables:
            lines += ["", f"  {table.title}", *table_lines(table)]
    return lines


def failure_lines(phase: Phase) -> list[str]:
    if phase.failure is None:
        return []
    message = phase.failure.message.strip().splitlines() or ["no message"]
    lines = textwrap.wrap(
        f"FAILED in phase {phase.name} on {phase.failure.host}, task: {phase.failure.task}",
        WIDTH,
        subsequent_indent="  ",
    )
    for line in message[:MESSAGE_LINES]:
        lines += textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="  ") or [""]
    if len(message) > MESSAGE_LINES:
        lines.append(f"  ({len(message) - MESSAGE_LINES} more lines above)")
    return lines


def phase_table(recorder: Recorder) -> Table:
    """Seconds, changes and outcome of each phase, and where GPUs wait for it, their idle minutes."""
    counted = recorder.gpu_phases
    columns = ["phase", "seconds", "would change" if recorder.mode == "check" else "changed", "outcome"]
    rows = []
    for phase in recorder.phases.values():
        seconds, changed = (f"{phase.seconds:.1f}", str(phase.changed)) if phase.started else ("-", "-")
        idle = [f"{counted[phase.name].idle:.1f}" if phase.name in counted else "-"] if counted else []
        rows.append((phase.name, seconds, changed, *idle, phase.outcome(recorder.failed)))
    if counted:
        columns.insert(3, "idle GPU min")
    return Table("phases", tuple(columns), tuple(rows))


def gpu_lines(recorder: Recorder) -> list[str]:
    """The GPU minutes of the run, and since the nodes were made."""
    counted = recorder.gpu_phases.values()
    if not counted:
        return []
    now = (recorder.began if recorder.ended is None else recorder.ended) + recorder.epoch
    run, idle = (sum(values) for values in zip(*((item.total, item.idle) for item in counted), strict=True))
    since = gpu_minutes.used(recorder.spans, now)
    return [f"idle GPU minutes {idle:.1f} of {run:.1f} in this run; {since:.1f} since the nodes were made"]


def render(recorder: Recorder, displayed_folders: t.Sequence[str]) -> list[str]:
    """The summary at the end of a run, at most 100 columns wide."""
    check = recorder.mode == "check"
    lines = ["", f"Run {recorder.run_id}" + (" (check mode: nothing was changed)" if check else "")]
    lines += table_lines(phase_table(recorder))
    lines += result_lines(recorder.results.values())
    changed = sum(phase.changed for phase in recorder.phases.values())
    lines += ["", f"Total {recorder.total_seconds:.1f} s, {changed} {'would change' if check else 'changed'}"]
    lines += gpu_lines(recorder)
    lines += [f"Results in {folder}" for folder in displayed_folders]
    if recorder.failed:
        lines += ["", *(failure_lines(recorder.failing) if recorder.failing else ["FAILED before any task ran"])]
        lines += ["Remove the cause, then run the same command again: it continues where this run stopped."]
    return lines


def interrupted_lines(recorder: Recorder) -> list[str]:
    """What to say when the run ends without its end being announced: an interrupt, or an error outside of tasks."""
    last = [phase for phase in recorder.phases.values() if phase.started]
    where = f"in phase {last[-1].name}" if last else "before the first phase"
    return ["", f"The run {recorder.run_id} stopped {where}. Run the same command again: it continues from there."]
