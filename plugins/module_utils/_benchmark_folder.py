# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the result of a benchmark in a folder, a report, a stage file or a log.

Private to the collection: it may change at any time, do not import it from elsewhere.

The stage file of inference-perf comes first: it alone has the failures by cause, the server's token counts and the
seconds that the rates divide by. A report beside it adds what the stage file lacks and never replaces a figure.
"""

from __future__ import annotations

import dataclasses
import json
import re
import traceback
import typing as t
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils import _benchmark_native as native
from ansible_collections.llmd.wide_ep.plugins.module_utils import _benchmark_report as report
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import Reader, Run, shown
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

try:
    import yaml
except ImportError:
    HAS_YAML = False
    YAML_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_YAML = True
    YAML_IMPORT_ERROR = None

#: What is read as a whole. Only per-request files are larger, and those are streamed.
LARGEST = 64 << 20
DEPTH = 4
#: Kind -> names of its files; the number is that of the stage.
PATTERNS: dict[str, re.Pattern[str]] = {
    "native": re.compile(r"(?:.*[_-])?stage_(?P<stage>\d+)_lifecycle_metrics\.json"),
    "partial": re.compile(r".*\.partial\.stage_(?P<stage>\d+)\.ya?ml"),
    "report": re.compile(r"benchmark_report_v0\.2.*?stage_(?P<stage>\d+).*\.ya?ml|.*report[-_]v0\.2(\.1)?\.ya?ml"),
    "log": re.compile(r".*stdout.*\.log"),
    "old report": re.compile(r"benchmark_report,_stage_(?P<stage>\d+).*\.ya?ml"),
}
PER_REQUEST = re.compile(r"(?:.*[_-])?per_request_lifecycle_metrics\.json")
SUMMARY = re.compile(r"(?:.*[_-])?summary_lifecycle_metrics\.json")
OTHER_KINDS = re.compile(r".*(prometheus|session)(_lifecycle)?_metrics.*\.json|.*per_request_lifecycle_metrics.*\.json")
AGAIN = "Copy the results again and compare their checksums."


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read. Without a run the findings hold an error that says why."""

    run: Run | None
    findings: tuple[Finding, ...]
    folder: Path | None = None
    per_request: Path | None = None
    stages: tuple[int, ...] = ()


@dataclasses.dataclass
class _Found:
    """The files of one folder, by kind and stage, and what was noticed on the way."""

    folder: Path
    files: dict[str, dict[int, Path]]
    config: t.Mapping[str, t.Any]
    findings: list[Finding]

    @property
    def stages(self) -> tuple[int, ...]:
        # The highest kind that has files: a folder may hold stage files of all stages and a report of one.
        for kind in PATTERNS:
            if self.files.get(kind):
                return tuple(sorted(self.files[kind]))
        return ()


def read(path: Path, stage: int | None = None) -> Reading:
    """The result at a path: a folder, or one file of a kind that is told by its content."""
    if path.is_dir():
        return _read_folder(path, stage)
    if path.is_file():
        return _read_file(path, stage)
    fix = "Give the folder that the benchmark's results were collected into, or one of its files."
    return Reading(None, (Finding("BENCHMARK_NO_RESULT", "error", str(path), "it does not exist", fix),))


def _read_folder(path: Path, stage: int | None) -> Reading:
    folders = _result_folders(path)
    if len(folders) == 1:
        return _read_result(_look(folders[0]), stage)
    if folders:
        names = ", ".join(str(folder.relative_to(path)) for folder in folders[:8])
        evidence = f"{len(folders)} folders hold results: {names}"
        finding = Finding("BENCHMARK_AMBIGUOUS", "error", str(path), evidence, "Give one of these folders.")
        return Reading(None, (finding,))
    listed = sorted(entry.name for entry in path.iterdir())[:8]
    looked = "stage_<n>_lifecycle_metrics.json, *.partial.stage_<n>.yaml, benchmark_report_v0.2*.yaml, *stdout*.log"
    evidence = f"it holds {', '.join(listed) if listed else 'nothing'}; looked for {looked}"
    fix = (
        "Read the load generator's log: inference-perf exits with 0 even where it has sent nothing and left no result. "
        "Then run the benchmark again."
    )
    return Reading(None, (Finding("BENCHMARK_NO_RESULT", "error", str(path), evidence, fix),))


def _result_folders(path: Path) -> list[Path]:
    """The folder itself where it has results, else those below it that have."""

    def holds(folder: Path) -> bool:
        names = [entry.name for entry in folder.iterdir() if entry.is_file()]
        return any(pattern.fullmatch(name) for name in names for pattern in PATTERNS.values())

    if holds(path):
        return [path]
    levels: list[Path] = [path]
    for _level in range(DEPTH):
        levels = sorted(entry for folder in levels for entry in folder.iterdir() if entry.is_dir())
        found = [folder for folder in levels if holds(folder)]
        if found:
            return found
    return []


def _look(folder: Path) -> _Found:
    files: dict[str, dict[int, Path]] = {}
    for entry in sorted(entry for entry in folder.iterdir() if entry.is_file()):
        for kind, pattern in PATTERNS.items():
            if match := pattern.fullmatch(entry.name):
                files.setdefault(kind, {}).setdefault(int(match.groupdict().get("stage") or 0), entry)
                break
    findings: list[Finding] = []
    config: t.Mapping[str, t.Any] = {}
    if (folder / "config.yaml").is_file():
        document, found = load(folder / "config.yaml")
        findings += found
        config = document or {}
    return _Found(folder, files, config, findings)


def _read_result(found: _Found, stage: int | None) -> Reading:
    chosen, refused = _choose(found, stage)
    if refused or chosen is None:
        return Reading(None, (*found.findings, *refused), found.folder, None, found.stages)
    run, findings = _run_of(found, chosen)
    findings = [*found.findings, *findings]
    if run is not None:
        run, added = _enriched(found, run, chosen)
        findings += added + _mixed(found, run)
    per_request = next((e for e in sorted(found.folder.iterdir()) if PER_REQUEST.fullmatch(e.name)), None)
    return Reading(run, tuple(findings), found.folder, per_request, found.stages)


def _choose(found: _Found, stage: int | None) -> tuple[int | None, list[Finding]]:
    """The stage to read; an error where one is missing, or where it is not told which one."""
    load_section = found.config.get("load")
    stages = load_section.get("stages") if isinstance(load_section, t.Mapping) else None
    expected = set(range(len(stages))) if isinstance(stages, list) else set(found.stages)
    missing = sorted((expected if stage is None else {stage}) - set(found.stages))
    shown_stages = ", ".join(map(str, found.stages)) or "none"
    if missing:
        evidence = f"stages {', '.join(map(str, missing))} have no file; there are those of {shown_stages}"
        fix = "The load was cut or the copy is incomplete. Copy the results again; if they stay so, run it again."
        return None, [Finding("BENCHMARK_STAGE_MISSING", "error", str(found.folder), evidence, fix)]
    if stage is None and len(found.stages) > 1:
        evidence = f"it holds the stages {shown_stages}"
        return None, [Finding("BENCHMARK_AMBIGUOUS", "error", str(found.folder), evidence, "Name one as stage.")]
    return (found.stages[0] if stage is None else stage), []


def _run_of(found: _Found, stage: int) -> tuple[Run | None, list[Finding]]:
    """The run from the best file that there is."""
    for kind in PATTERNS:
        path = found.files.get(kind, {}).get(0 if kind == "log" else stage)
        if path is None:
            continue
        if kind == "log":
            return _from_log(path, found.config, stage)
        document, findings = load(path)
        if document is None:
            return None, findings
        run, more = _from_document(path.name, document, found.config, stage)
        return run, [*findings, *more]
    return None, []


def _from_document(
    label: str, document: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any], stage: int
) -> tuple[Run | None, list[Finding]]:
    if native.is_native(document):
        run, reader = native.read_stage(label, document, config, stage)
        return run, reader.findings
    if report.is_report(document):
        found, reader = report.read_report(label, document)
        return found, reader.findings
    evidence = f"found {shown(document)}, expected a stage file of inference-perf or a benchmark report"
    fix = "Give stage_<n>_lifecycle_metrics.json or a report of version 0.2."
    return None, [Finding("BENCHMARK_SHAPE", "error", label, evidence, fix)]


def _from_log(path: Path, config: t.Mapping[str, t.Any], stage: int) -> tuple[Run | None, list[Finding]]:
    """A pod's log, where nothing else is left of the run."""
    sections, reader = native.log_sections(path.name, path.read_text(encoding="utf-8", errors="replace"))
    for name, parse in ((f"STAGE_{stage}", json.loads), (f"PARTIAL_BR_V0_2_STAGE_{stage}", yaml.safe_load)):
        if name not in sections:
            continue
        try:
            document = parse(sections[name])
        except (ValueError, yaml.YAMLError) as error:
            reader.note("BENCHMARK_TRUNCATED", name, f"it does not parse: {_first_line(error)}", AGAIN)
            continue
        run, findings = _from_document(path.name, document, config, stage)
        return run, [*reader.findings, *findings]
    if not reader.findings:
        evidence = f"it has no section STAGE_{stage}"
        fix = "Give the result folder; inference-perf prints results from 0.6.0 on."
        reader.note("BENCHMARK_NO_RESULT", "", evidence, fix)
    return None, reader.findings


def _read_file(path: Path, stage: int | None) -> Reading:
    if path.suffix in (".log", ".txt"):
        run, findings = _from_log(path, {}, stage or 0)
        return Reading(run, tuple(findings), path.parent, None, (stage or 0,))
    if OTHER_KINDS.fullmatch(path.name) or SUMMARY.fullmatch(path.name):
        evidence = "it is a file of inference-perf, but not of one stage of the load"
        fix = "Give stage_<n>_lifecycle_metrics.json, or the folder that holds it."
        return Reading(None, (Finding("BENCHMARK_SHAPE", "error", path.name, evidence, fix),))
    document, findings = load(path)
    if document is None:
        return Reading(None, tuple(findings))
    config: t.Mapping[str, t.Any] = {}
    if native.is_native(document) and (path.parent / "config.yaml").is_file():
        found, more = load(path.parent / "config.yaml")
        config, findings = found or {}, [*findings, *more]
    match = PATTERNS["native"].fullmatch(path.name)
    number = int(match["stage"]) if match else stage or 0
    run, more = _from_document(path.name, document, config, number)
    return Reading(run, (*findings, *more), path.parent, None, (number,))


def _enriched(found: _Found, run: Run, stage: int) -> tuple[Run, list[Finding]]:
    """The run with what lies beside its file: spread and ids of a report, and the tool's own checks."""
    findings: list[Finding] = []
    if (found.folder / "validation.json").is_file():
        document, findings = load(found.folder / "validation.json")
        run = dataclasses.replace(run, tool_checks=native.tool_checks(document))
    if (found.folder / "run_metadata.yaml").is_file():
        document, more = load(found.folder / "run_metadata.yaml")
        findings += more
        run = _with_metadata(run, document or {})
    beside = found.files.get("partial", {}).get(stage)
    if run.format != "native" or beside is None:
        return run, findings
    document, more = load(beside)
    findings += more
    partial, reader = report.read_report(beside.name, document) if document else (None, Reader(beside.name))
    if partial is None:
        return run, findings + reader.findings
    if (partial.total, partial.failures) != (run.total, run.failures):
        evidence = (
            f"{beside.name} has {partial.total} requests and {partial.failures} failures, "
            f"{run.source} {run.total} and {run.failures}"
        )
        findings.append(Finding("BENCHMARK_MIXED", "error", str(found.folder), evidence, AGAIN))
    filled = {name: {**partial.latency.get(name, {}), **values} for name, values in run.latency.items()}
    lengths = {name: {**partial.lengths.get(name, {}), **values} for name, values in run.lengths.items()}
    return dataclasses.replace(run, latency=filled, lengths=lengths, run=partial.run), findings + reader.findings


def _with_metadata(run: Run, document: t.Mapping[str, t.Any]) -> Run:
    """What the harness notes of the run. It spans the whole process, so its duration is not that of the load."""
    names = {"start": "harness_start", "end": "harness_stop"}
    time = {ours: str(document[theirs]) for ours, theirs in names.items() if document.get(theirs)}
    version = str(document.get("harness_version") or "")
    known = version if version not in ("", "unknown") else None
    load_of = dataclasses.replace(run.load, tool_version=run.load.tool_version or known)
    return dataclasses.replace(run, load=load_of, run={**run.run, **({"time": time} if time else {})})


def _mixed(found: _Found, run: Run) -> list[Finding]:
    """Files of one folder that cannot come from one run."""
    said = {run.source: native.generation_of(run.document), "config.yaml": native.generation_of_config(found.config)}
    counts: dict[str, int] = {}
    for entry in (entry for entry in sorted(found.folder.iterdir()) if SUMMARY.fullmatch(entry.name)):
        document, problems = load(entry)
        if document is None:
            return problems
        said[entry.name] = native.generation_of(document)
        if native.is_native(document) and isinstance(document["load_summary"], t.Mapping):
            counts[entry.name] = document["load_summary"].get("count") or 0
    known = {name: generation for name, generation in said.items() if generation}
    findings = []
    if len(set(known.values())) > 1:
        evidence = ", ".join(f"{name} is of inference-perf {generation}" for name, generation in known.items())
        fix = "Give each run its own empty folder."
        findings.append(Finding("BENCHMARK_MIXED", "error", str(found.folder), evidence, fix))
    for name, count in counts.items():
        if len(found.stages) == 1 and run.format == "native" and isinstance(count, int) and count != run.total:
            evidence = f"{name} counts {count} requests, {run.source} {run.total}"
            findings.append(Finding("BENCHMARK_MIXED", "error", str(found.folder), evidence, AGAIN))
    return findings


def load(path: Path) -> tuple[dict[str, t.Any] | None, list[Finding]]:
    """A JSON or YAML file that holds one mapping."""
    reader = Reader(path.name)
    size = path.stat().st_size
    document: t.Any = None
    if size > LARGEST:
        evidence = f"it has {size / 1e6:.0f} MB, more than the {LARGEST >> 20} MiB that a report can have"
        reader.note("BENCHMARK_SHAPE", "", evidence, "Give the stage file; per-request files are read beside it.")
    elif size == 0:
        reader.note("BENCHMARK_TRUNCATED", "", "it is empty (0 bytes)", AGAIN)
    else:
        document = _parsed(reader, path, size)
    return document, reader.findings


def _parsed(reader: Reader, path: Path, size: int) -> dict[str, t.Any] | None:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        documents = [json.loads(text)] if path.suffix == ".json" else list(yaml.safe_load_all(text))
    except (ValueError, yaml.YAMLError) as error:
        reader.note("BENCHMARK_TRUNCATED", "", f"it has {size} bytes and does not parse: {_first_line(error)}", AGAIN)
        return None
    if len(documents) != 1:
        evidence = f"it holds {len(documents)} YAML documents, expected one"
        reader.note("BENCHMARK_SHAPE", "", evidence, "Give each report its own file.")
        return None
    if not isinstance(documents[0], dict):
        evidence = f"found {shown(documents[0])} at the top, expected a mapping"
        reader.note("BENCHMARK_SHAPE", "", evidence, "Give a stage file of inference-perf or a benchmark report.")
        return None
    return t.cast(dict[str, t.Any], documents[0])


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
