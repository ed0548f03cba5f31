# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and dashboard ask for series that the servers have, by the names and labels that they have."""

from __future__ import annotations

import re
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _monitoring

from ._rendered import METRIC, ROOT, alerts, groups, queries

DATA = ROOT / "tests" / "data" / "metrics"
SERVER, SIMULATOR = "vllm-0.19.1", "llm-d-inference-sim-0.10.2"
ROUTERS = ("llm-d-inference-scheduler-0.7.1", "llm-d-router-0.9.0")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
#: Made by Prometheus itself.
BUILT_IN = {"up", "ALERTS"}
#: Renamed in 0.9.0; the rules name both.
NEW_IN_0_9_0 = {"llm_d_epp_ready_endpoints"}
RECORDED = {rule["record"] for group in groups() for rule in group["rules"] if "record" in rule}
EXPRESSIONS = [*(rule["expr"] for group in groups() for rule in group["rules"]), *queries()]
#: The simulator calls it finish_reason.
LABELS_NOT_IN_REHEARSAL = {"finished_reason"}
#: What the simulator cannot show, so that only promtool judges these alerts.
NOT_IN_REHEARSAL = {
    "WideEPDecodeComputesPrompts",
    "WideEPPreemptions",
    "WideEPKVTransferFailures",
    "WideEPKVExpired",
    "WideEPRequestErrors",
    "WideEPGroupRestarted",
    "WideEPGroupRestartLoop",
}


def listed(folder: str) -> set[str]:
    """All names under which a server's series are scraped, from its list or from the recorded texts."""
    names: set[str] = set()
    for path in DATA.glob(f"{folder}/series.yml"):
        for name, series in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            names |= {name + suffix for suffix in SUFFIXES.get(series["type"], ("",))}
    for path in DATA.glob(f"{folder}/*.txt"):
        names |= set(re.findall(r"^([a-zA-Z_:][\w:]*)[{ ]", path.read_text(encoding="utf-8"), re.MULTILINE))
    return names


def used(expressions: t.Iterable[str]) -> set[str]:
    found = {name for text in expressions for name in METRIC.findall(text)}
    # What a recording rule is made of counts for those who use it.
    for group in groups():
        for rule in group["rules"]:
            if rule.get("record") in found:
                found |= set(METRIC.findall(rule["expr"]))
    return found - BUILT_IN - RECORDED


def test_the_lists_are_there() -> None:
    for folder in (SERVER, SIMULATOR, *ROUTERS):
        assert listed(folder), folder


def test_every_series_is_selected_by_labels() -> None:
    """A bare name would be read as a function here and would add up all deployments there."""
    for text in EXPRESSIONS:
        assert not re.search(r"\b(vllm|wide_ep):\w+(:\w+)?(?![\w:{])", text), text


@pytest.mark.parametrize("name", sorted(used(EXPRESSIONS)))
def test_series_exist(name: str) -> None:
    if name in listed(SERVER):
        return
    lacking = {folder for folder in ROUTERS if name not in listed(folder)}
    assert lacking == ({ROUTERS[0]} if name in NEW_IN_0_9_0 else set())


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_what_the_rehearsal_can_show(rule: dict[str, t.Any]) -> None:
    lacking = used([rule["expr"]]) - listed(SIMULATOR) - listed(ROUTERS[0]) - NEW_IN_0_9_0
    lacking |= {label for label in LABELS_NOT_IN_REHEARSAL if label in rule["expr"]}
    assert bool(lacking) == (rule["alert"] in NOT_IN_REHEARSAL), lacking


def test_recorded_texts_of_vllm_have_listed_names() -> None:
    """Names in the texts that the release does not have are there to see that a reader passes over them."""
    texts = "".join(path.read_text(encoding="utf-8") for path in DATA.glob(f"{SERVER}/*.txt"))
    names = set(re.findall(r"^([a-zA-Z_:][\w:]*)[{ ]", texts, re.MULTILINE))
    declared = yaml.safe_load((DATA / SERVER / "series.yml").read_text(encoding="utf-8"))
    beside = {"vllm:num_requests_waiting_by_reason", "vllm:request_success_created"}
    assert names - set(declared) <= beside


def test_labels_in_selectors_are_those_of_pods_or_series() -> None:
    given = {"namespace", "pod", "alertstate", *_monitoring.MODEL_SERVER_LABELS.values(), "router"}
    declared = yaml.safe_load((DATA / SERVER / "series.yml").read_text(encoding="utf-8"))
    of_series = {label for series in declared.values() for label in series["labels"]}
    for text in EXPRESSIONS:
        for selector in re.findall(r"\{([^}]*)\}", text):
            assert set(re.findall(r"(\w+)[=!]", selector)) <= given | of_series, selector
