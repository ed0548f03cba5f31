# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports against the published models of their schema.

Private to the collection: it may change at any time, do not import it from elsewhere.

The models are those of the package ``llmd-benchmark-report``. The JSON Schema that is made of them does not check
which unit belongs to which field (a request rate in milliseconds passes it); the models do.
"""

from __future__ import annotations

import traceback
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import Reader, shown
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity

try:
    from llmd_benchmark_report import BenchmarkReportV01, BenchmarkReportV02
    from pydantic import ValidationError
except ImportError:
    HAS_MODELS = False
    MODELS_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_MODELS = True
    MODELS_IMPORT_ERROR = None

UNKNOWN_KEY = "extra_forbidden"
#: Kind of error of pydantic -> code of ours; what is not listed is a field of the wrong type.
CODES = {
    UNKNOWN_KEY: "BENCHMARK_KEY_UNKNOWN",
    "missing": "BENCHMARK_FIELD",
    "greater_than_equal": "BENCHMARK_VALUE",
    "greater_than": "BENCHMARK_VALUE",
    "finite_number": "BENCHMARK_VALUE",
}
FIX = {
    "BENCHMARK_KEY_UNKNOWN": "Remove the key, or put it under native or an open part of observability.",
    "BENCHMARK_FIELD": "Complete the report; this collection writes complete ones from the load generator's files.",
    "BENCHMARK_VALUE": "Run the benchmark again: a report with such a value describes no run.",
    "BENCHMARK_UNITS": "Correct the unit, or convert the values.",
}


def schema_findings(label: str, document: t.Mapping[str, t.Any], *, strict: bool = False) -> list[Finding]:
    """What the published models say of a report. Unknown keys are warnings unless ``strict``."""
    if not HAS_MODELS:
        fix = "Install llmd-benchmark-report into the Python environment of Ansible: `make setup`."
        subject, evidence = "Python package llmd-benchmark-report", "it cannot be imported"
        return [Finding("BENCHMARK_PACKAGE_MISSING", "error" if strict else "warning", subject, evidence, fix)]
    version = str(document.get("version"))
    reader = Reader(label)
    model = BenchmarkReportV01 if version == "0.1" else BenchmarkReportV02
    try:
        model.model_validate({**document, "version": version})
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            _note(reader, t.cast(dict[str, t.Any], entry), strict)
    return reader.findings


def _note(reader: Reader, entry: dict[str, t.Any], strict: bool) -> None:
    path, code = ".".join(map(str, entry["loc"])), CODES.get(entry["type"], "BENCHMARK_FIELD")
    if path.endswith("units") or "units" in entry["msg"].lower():
        code = "BENCHMARK_UNITS"
    severity: Severity = "warning" if entry["type"] == UNKNOWN_KEY and not strict else "error"
    found = "" if entry["type"] in ("missing", "value_error") else f"found {shown(entry['input'])}: "
    reader.note(code, path, f"{found}{' '.join(entry['msg'].split())}", FIX[code], severity)
