# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmark reports 0.1, 0.2 and 0.2.1 as a ``Run``, and a ``Run`` as a report 0.2 or 0.2.1.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
import uuid

from ansible_collections.llmd.wide_ep.plugins.module_utils import _benchmark_native as native
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import (
    LATENCIES,
    LENGTHS,
    RATES,
    STATISTICS,
    Load,
    Reader,
    Run,
    shown,
)

Document = t.Mapping[str, t.Any]

READABLE = ("0.1", "0.2", "0.2.1")
WRITABLE = ("0.2", "0.2.1")
#: uuid5 of an empty experiment: what old harness images write for every run.
EMPTY_EXPERIMENT = "1b4db7eb-4057-5ddf-91e0-36dec72071f5"
AGGREGATE = "results.request_performance.aggregate"
#: Unit of ours -> units that a report may use for it, with the factor to ours.
UNITS: dict[str, dict[str, float]] = {
    "s": {"s": 1.0, "ms": 1e-3},
    "s/token": {"s/token": 1.0, "ms/token": 1e-3},
    "tokens/s": {"tokens/s": 1.0},
    "queries/s": {"queries/s": 1.0},
    "count": {"count": 1.0},
}
OURS = {name: name for name in STATISTICS}
#: The rates of report 0.1, which are plain numbers.
RATES_0_1 = {
    "requests_per_sec": "request_rate",
    "output_tokens_per_sec": "output_token_rate",
    "input_tokens_per_sec": "input_token_rate",
    "total_tokens_per_sec": "total_token_rate",
}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the load generator cannot know of its run: from the deployment and the launcher."""

    experiment: str = ""
    cluster: str = ""
    pod: str = ""
    user: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    start: str = ""
    end: str = ""
    tool_version: str = ""
    stack: tuple[Document, ...] = ()


def version_of(reader: Reader, document: Document) -> str | None:
    """The schema version that can be read. An unquoted ``0.2`` in YAML is a number, which other readers refuse."""
    found = document.get("version")
    known = ", ".join(READABLE)
    if isinstance(found, float) and str(found) in READABLE:
        fix = f'Write version: "{found}" with quotes.'
        reader.note("BENCHMARK_VERSION", "version", f"found the number {found}, expected text", fix, "warning")
        return str(found)
    if found in READABLE:
        return str(found)
    evidence = f"found {shown(found)}, expected one of {known}" if "version" in document else "it is absent"
    reader.note("BENCHMARK_VERSION", "version", evidence, f"Convert the report to one of the versions {known}.")
    return None


def is_report(document: t.Any) -> bool:
    return isinstance(document, t.Mapping) and bool({"version", "results", "metrics"} & set(document))


def read_report(label: str, document: Document) -> tuple[Run | None, Reader]:
    """A report of any version that can be read; ``None`` where nothing in it can be used."""
    reader = Reader(label)
    version = version_of(reader, document)
    if version is None:
        return None, reader
    if version == "0.1":
        return _read_0_1(reader, label, document), reader
    return _read_0_2(reader, label, document, version), reader


def _read_0_2(reader: Reader, label: str, document: Document, version: str) -> Run | None:
    aggregate = _at(document, AGGREGATE)
    requests = reader.mapping(f"{AGGREGATE}.requests", aggregate.get("requests"))
    total = reader.count(f"{AGGREGATE}.requests.total", requests.get("total"))
    if total is None:
        fix = "Give a report of a run that has sent requests."
        reader.note("BENCHMARK_FIELD", f"{AGGREGATE}.requests.total", "it is absent or no count", fix)
        return None
    scenario = reader.mapping("scenario", document.get("scenario"))
    rates = _group(reader, aggregate, "throughput", RATES)
    return Run(
        source=label,
        format=f"report {version}",
        total=total,
        failures=reader.count(f"{AGGREGATE}.requests.failures", requests.get("failures")) or 0,
        lengths=_group(reader, aggregate, "requests", dict.fromkeys(LENGTHS, "count")),
        latency=_group(reader, aggregate, "latency", LATENCIES),
        rates={name: statistics["mean"] for name, statistics in rates.items() if "mean" in statistics},
        load=_load(reader, scenario),
        run=reader.mapping("run", document.get("run")),
        scenario=scenario,
        config=_at(scenario, "load.native.config"),
        document=document,
    )


def _group(
    reader: Reader, aggregate: Document, section: str, units: t.Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """The statistics of one section in our units."""
    path = f"{AGGREGATE}.{section}"
    source, found = reader.mapping(path, aggregate.get(section)), {}
    for name, unit in units.items():
        entry = reader.mapping(f"{path}.{name}", source.get(name))
        if not entry:
            continue
        factor = UNITS[unit].get(str(entry.get("units")))
        if factor is None:
            evidence = f"found {shown(entry.get('units'))}, expected {' or '.join(UNITS[unit])}"
            reader.note("BENCHMARK_UNITS", f"{path}.{name}.units", evidence, "Correct the unit, or convert the values.")
            continue
        found[name] = reader.statistics(f"{path}.{name}", entry, OURS, factor)
    return found


def _load(reader: Reader, scenario: Document) -> Load:
    """Of the standardized part what it has, of the tool's own configuration the rest."""
    standardized = _at(scenario, "load.standardized")
    config = _at(scenario, "load.native.config")
    stage = int(reader.number("scenario.load.standardized.stage", standardized.get("stage")) or 0)
    base = native.load_of_config(reader, config, stage)
    sizes = {
        "input_tokens": _at(standardized, "input_seq_len").get("value"),
        "output_tokens": _at(standardized, "output_seq_len").get("value"),
        "concurrency": standardized.get("concurrency"),
    }
    numbers = {name: reader.number(f"scenario.load.standardized.{name}", value) for name, value in sizes.items()}
    engines = [entry for entry in map(_standardized, scenario.get("stack") or []) if "model" in entry]
    model = next((_at(engine, "model").get("name") for engine in engines), None)
    found: dict[str, t.Any] = {
        "tool": standardized.get("tool"),
        "tool_version": standardized.get("tool_version") or None,
        "model": model,
        **{name: value for name, value in numbers.items() if getattr(base, name) is None},
    }
    return dataclasses.replace(base, stage=stage, **{name: value for name, value in found.items() if value is not None})


def _standardized(component: t.Any) -> Document:
    return _at(component, "standardized") if isinstance(component, t.Mapping) else {}


def _read_0_1(reader: Reader, label: str, document: Document) -> Run | None:
    """What 0.1 can tell. Its duration is that of sending, and an input length of 0 means unknown."""
    metrics, scenario = _at(document, "metrics"), _at(document, "scenario")
    requests = _at(metrics, "requests")
    total = reader.count("metrics.requests.total", requests.get("total"))
    if total is None:
        reader.note("BENCHMARK_FIELD", "metrics.requests.total", "it is absent or no count", "Give a complete report.")
        return None
    evidence = "0.1 lacks the stack, and its duration is that of sending"
    fix = "Give the report 0.2 that lies beside it."
    reader.note("BENCHMARK_VERSION", "version", evidence, fix, "warning")
    throughput = _at(metrics, "throughput")
    rates = {
        ours: reader.number(f"metrics.throughput.{name}", throughput.get(name)) for name, ours in RATES_0_1.items()
    }
    shim = {"requests": requests, "latency": _at(metrics, "latency")}
    lengths = _group(reader, shim, "requests", dict.fromkeys(LENGTHS, "count"))
    return Run(
        source=label,
        format="report 0.1",
        total=total,
        failures=reader.count("metrics.requests.failures", requests.get("failures")) or 0,
        lengths={name: values for name, values in lengths.items() if values.get("mean")},
        latency=_group(reader, shim, "latency", LATENCIES),
        rates={name: rate for name, rate in rates.items() if rate is not None},
        load=Load(tool=str(_at(scenario, "load").get("name") or "unknown"), model=_at(scenario, "model").get("name")),
        document=document,
    )


def _at(place: t.Any, path: str) -> Document:
    for name in path.split("."):
        place = place.get(name) if isinstance(place, t.Mapping) else None
    return place if isinstance(place, t.Mapping) else {}


# Writing


def write_report(run: Run, facts: Facts, version: str) -> dict[str, t.Any]:
    """The report of a run: what was measured as it is, and of the rest what is known instead of placeholders."""
    measured = dict(_at(run.document, "results")) if run.format.startswith("report 0.2") else {}
    performance = dict(measured.get("request_performance") or {})
    stack = [component(entry) for entry in facts.stack] or run.scenario.get("stack")
    return {
        "version": version,
        "run": _run_section(run, facts),
        "scenario": {**_present(stack=stack), "load": _load_section(run, facts)},
        "results": {**measured, "request_performance": {**performance, "aggregate": _aggregate(run, version)}},
    }


def digest(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _present(**values: t.Any) -> dict[str, t.Any]:
    return {name: value for name, value in values.items() if value not in (None, "", (), [], {})}


def _run_section(run: Run, facts: Facts) -> dict[str, t.Any]:
    """Ids are names of what they identify, so that the same files give the same report."""
    seconds = run.duration
    told = {name: value for name, value in run.run.items() if value and value != EMPTY_EXPERIMENT}
    known = _present(
        eid=str(uuid.uuid5(uuid.NAMESPACE_URL, facts.experiment)) if facts.experiment else None,
        cid=str(uuid.uuid5(uuid.NAMESPACE_DNS, facts.cluster)) if facts.cluster else None,
        pid=facts.pod,
        user=facts.user,
        description=facts.description,
        keywords=list(facts.keywords),
    )
    time = {
        **_present(duration=f"PT{seconds:.3f}S" if seconds else None),
        **(told.get("time") or {}),
        **_present(start=facts.start, end=facts.end),
    }
    uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{facts.experiment}/{digest(run.document)}"))
    return {"uid": uid, **told, **known, "time": time}


def component(entry: Document) -> dict[str, t.Any]:
    """A part of the stack: an inference engine where it has a role of one, else a generic component."""
    tool = {"tool": entry["tool"], "tool_version": str(entry.get("tool_version") or "unknown")}
    if entry.get("role") in ("prefill", "decode", "replica"):
        parallelism = {name: int(entry[name]) for name in ("tp", "dp", "dp_local", "ep", "pp") if entry.get(name)}
        standardized: dict[str, t.Any] = {
            "kind": "inference_engine",
            **tool,
            "role": entry["role"],
            "replicas": int(entry.get("replicas") or 1),
            "model": {"name": entry["model"]},
            "accelerator": {
                "model": str(entry.get("gpu") or "unknown"),
                "count": int(entry.get("gpus") or 0),
                "parallelism": parallelism,
            },
        }
    else:
        extra = {
            name: value for name, value in entry.items() if name not in {"label", "args", "envars", "image", *tool}
        }
        standardized = {"kind": "generic", **tool, **_present(**extra)}
    own = _present(
        args=dict(entry.get("args") or {}),
        envars=dict(entry.get("envars") or {}),
        config=_present(image=entry.get("image")),
    )
    identity = {"label": entry["label"], "cfg_id": digest([standardized, own]), "schema_version": "0.0.1"}
    return {"metadata": identity, "standardized": standardized, "native": own}


def _load_section(run: Run, facts: Facts) -> dict[str, t.Any]:
    load = run.load
    sources = {"random": "random", "shared_prefix": "random", None: "unknown"}
    standardized = {
        "tool": load.tool,
        "tool_version": facts.tool_version or load.tool_version or load.generation or "unknown",
        "source": sources.get(load.data_type, "sampled"),
        "stage": load.stage,
        "input_seq_len": _sequence(run, "input_distribution", "input_length"),
        **_present(
            output_seq_len=_sequence(run, "output_distribution", "output_length"),
            concurrency=int(load.concurrency) if load.concurrency else None,
        ),
    }
    return {
        "metadata": {"schema_version": "0.0.1", **_present(cfg_id=digest(run.config) if run.config else None)},
        "standardized": standardized,
        "native": _present(config=dict(run.config)),
    }


def _sequence(run: Run, distribution: str, measured: str) -> dict[str, t.Any]:
    """What was asked for where the configuration tells, else what was measured."""
    asked = _at(run.config, f"data.{distribution}")
    if asked.get("mean") is not None:
        fixed = asked.get("min") == asked.get("max")
        kind = "fixed" if fixed else {"normal": "gaussian", "uniform": "uniform"}.get(str(asked.get("type")), "other")
        spread = None if fixed else asked.get("std_dev")
        return {
            "distribution": kind,
            "value": asked["mean"],
            **_present(std_dev=spread, min=asked.get("min"), max=asked.get("max")),
        }
    seen = run.lengths.get(measured, {})
    bounds = {name: int(seen[name]) for name in ("min", "max") if name in seen}
    return {"distribution": "other", "value": seen.get("mean", 0.0), **bounds}


def _aggregate(run: Run, version: str) -> dict[str, t.Any]:
    told = _at(run.document, AGGREGATE)
    lengths = {name: {"units": "count", **values} for name, values in run.lengths.items()}
    size = {"request_size": {"units": "bytes", **run.request_size}} if run.request_size and version != "0.2" else {}
    requests = {**_at(told, "requests"), "total": run.total, "failures": run.failures, **lengths, **size}
    if run.successes <= 0:
        return {**told, "requests": requests}
    latency = {name: {"units": LATENCIES[name], **values} for name, values in run.latency.items()}
    rates = {name: {"units": RATES[name], "mean": rate} for name, rate in run.rates.items()}
    return {
        **told,
        "requests": requests,
        "latency": {**_at(told, "latency"), **latency},
        "throughput": {**_at(told, "throughput"), **rates},
    }
