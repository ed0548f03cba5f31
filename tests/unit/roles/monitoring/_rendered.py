# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's rules and dashboard with its default settings, and promtool to judge them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _monitoring, _monitoring_dashboard

ROOT = Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles" / "monitoring"
CACHE = Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmd-wide-ep"
)
RUNBOOK = "https://runbooks.example/alerts.md"
#: A name before a selector; functions are followed by a parenthesis.
METRIC = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{")

Json = dict[str, t.Any]


def load(name: str) -> t.Any:
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def plan(**inputs: t.Any) -> Json:
    base: Json = {
        "release": "wide-ep-lws",
        "namespace": "llm-d-wide-ep",
        "model": "deepseek-ai/DeepSeek-R1-0528",
        "overlay": "gke",
        "components": ["monitoring"],
        "load_balancing": "hybrid",
        "router_mode": "standalone",
        "gateway_provider": "none",
        "redundant_experts": 32,
    }
    for role in ("prefill", "decode"):
        tier = {"groups": 1, "hosts_per_group": 2, "ranks_per_host": 8, "all2all_backend": "naive"}
        base |= {f"{role}_{key}": value for key, value in tier.items()}
    found: Json = build_plan({**base, **inputs}).as_dict()
    return json.loads(json.dumps(found))


def settings(**changes: t.Any) -> Json:
    defaults = load("defaults/main.yml")
    words = {key: defaults[f"monitoring_{key}"] for key in ("interval", "window", "for")}
    return {**load("vars/main.yml")["_monitoring_thresholds"], **words, **changes}


def groups(**changes: t.Any) -> list[Json]:
    source = load("files/rules.yml")
    return _monitoring.rule_groups(source, plan(), settings(**changes), runbook=RUNBOOK)


def alerts() -> list[Json]:
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def dashboard() -> Json:
    return _monitoring_dashboard.dashboard(load("files/dashboard.yml"), "llm-d-wide-ep", "wide-ep-lws")


def queries() -> list[str]:
    """The dashboard's queries, with what Grafana fills in."""
    words = {"$namespace": "llm-d-wide-ep", "${release}": "wide-ep-lws", "$release": "wide-ep-lws"}
    words["$__rate_interval"] = "2m"
    found = []
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"]
            for word, value in words.items():
                text = text.replace(word, value)
            found.append(text)
    return found


def promtool() -> str | None:
    """Debian's promtool: on PATH, or where the rehearsal cluster's builder put it."""
    for manifest in sorted(CACHE.glob("manifests/*.json")):
        programs = json.loads(manifest.read_text(encoding="utf-8"))["programs"]
        if "promtool" in programs and Path(programs["promtool"]["path"]).is_file():
            return str(programs["promtool"]["path"])
    return os.environ.get("PROMTOOL") or shutil.which("promtool")


def run_promtool(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = promtool()
    assert program is not None
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def rule_text(text: str, labels: t.Mapping[str, str], value: float) -> str:
    """An annotation as Prometheus renders the few forms that the rules use."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda m: labels.get(m[1], ""), text)
    text = re.sub(r'\{\{ printf "(%\.\df)" \$value \}\}', lambda m: m[1] % value, text)
    return text.replace("{{ $value }}", f"{value:g}")
