# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_stack import (
    Counted,
    agreement,
    change_findings,
    counted,
    engine,
    environment,
    fingerprint,
    image_of,
    rank_rows,
    restarts,
    router,
    totals,
)

Json = dict[str, t.Any]
TIER = {"groups": 1, "gpus": 16, "dp_size": 16, "ranks_per_host": 8}
SET = {"metadata": {"name": "d", "resourceVersion": "1"}, "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 2}}}
DEPLOYMENT = {"metadata": {"name": "e"}, "spec": {"replicas": 1, "template": {"spec": {"containers": []}}}}


def pod(name: str = "d-0", uid: str = "u", restarted: int = 0) -> Json:
    limits = {"nvidia.com/gpu": "8", "rdma/ib": "1"}
    server = {"name": "vllm", "image": "v:1", "command": ["vllm"], "args": ["serve"], "resources": {"limits": limits}}
    sidecar = {"name": "sidecar", "image": "s:1"}
    statuses = [
        {"name": "vllm", "image": "r/v:1", "imageID": "r/v@sha256:abc", "restartCount": restarted},
        {"name": "sidecar", "image": "r/s:1", "imageID": "", "restartCount": 0},
    ]
    return {
        "metadata": {"name": name, "uid": uid},
        "spec": {"nodeName": "n1", "containers": [sidecar, server]},
        "status": {"containerStatuses": statuses},
    }


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("sets", lambda s, d: s["spec"].update(replicas=2)),
        ("sets", lambda s, d: s["spec"]["leaderWorkerTemplate"].update(size=3)),
        ("router", lambda s, d: d["spec"]["template"]["spec"].update(hostNetwork=True)),
    ],
)
def test_another_deployment_has_another_fingerprint(what: str, change: t.Callable[[Json, Json], None]) -> None:
    one, other = copy.deepcopy(SET), copy.deepcopy(DEPLOYMENT)
    change(one, other)
    assert fingerprint([one], [other], "load") != fingerprint([SET], [DEPLOYMENT], "load"), what


def test_a_look_at_another_time_has_the_same_fingerprint() -> None:
    later = copy.deepcopy(SET)
    later["metadata"] |= {"resourceVersion": "2", "annotations": {"a": "b"}}
    more = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 2}}
    assert fingerprint([later], [more], "load") == fingerprint([SET], [DEPLOYMENT], "load")
    assert fingerprint([SET], [DEPLOYMENT], "other") != fingerprint([SET], [DEPLOYMENT], "load")


def test_images_are_told_by_digest_where_the_runtime_knows_it() -> None:
    assert image_of(pod(), "vllm") == "r/v:1@sha256:abc"
    assert image_of(pod(), "sidecar") == "r/s:1"
    assert image_of({"spec": pod()["spec"]}, "vllm") == "v:1"


def test_a_tier_is_told_with_its_parallelism_image_and_gpu() -> None:
    node = {"metadata": {"name": "n1", "labels": {"nvidia.com/gpu.product": "NVIDIA-H200"}}}
    other = {"metadata": {"name": "n2", "labels": {"nvidia.com/gpu.product": "NVIDIA-B200"}}}
    entry = engine("decode", TIER, [pod("d-0-1"), pod()], [other, node], "m")
    assert entry is not None
    assert entry["image"] == "r/v:1@sha256:abc"
    assert entry["gpu"] == "NVIDIA-H200"
    assert {key: entry[key] for key in ("role", "gpus", "dp", "dp_local", "ep", "tp")} == {
        "role": "decode",
        "gpus": 16,
        "dp": 16,
        "dp_local": 8,
        "ep": 16,
        "tp": 1,
    }
    assert engine("decode", TIER, [], [], "m") is None


def test_no_secret_gets_into_a_report() -> None:
    given = [
        {"name": "VLLM_API_KEY", "value": "canary"},
        {"name": "HF_TOKEN", "value": "canary"},
        {"name": "NCCL_DEBUG", "value": "INFO"},
        {"name": "VLLM_X", "valueFrom": {}},
    ]
    assert environment({"env": given}) == {"NCCL_DEBUG": "INFO"}


def test_the_router_has_an_entry_per_container() -> None:
    containers = [{"name": "epp", "image": "r/llm-d-inference-scheduler:1"}, {"name": "proxy", "image": "r/envoy:1"}]
    found = router([{"spec": {"containers": containers}, "metadata": {}}])
    assert [(entry["label"], entry["tool"]) for entry in found] == [("inference-scheduler", "epp"), ("proxy", "envoy")]
    assert router([]) == []


def test_in_gateway_mode_the_proxy_is_a_pod_of_the_gateway() -> None:
    epp = {"spec": {"containers": [{"name": "epp", "image": "r/llm-d-inference-scheduler:1"}]}, "metadata": {}}
    proxy = {"spec": {"containers": [{"name": "istio-proxy", "image": "r/proxyv2:1"}]}, "metadata": {}}
    found = [(entry["label"], entry["tool"], entry["replicas"]) for entry in router([epp], [proxy, proxy])]
    assert found == [("inference-scheduler", "epp", 1), ("proxy", "istio-proxy", 2)]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([pod()], None),
        ([pod(uid="v")], "d-0 replaced"),
        ([], "d-0 replaced"),
        ([pod(restarted=1)], "d-0 restarted"),
    ],
)
def test_servers_that_change_during_a_load_are_named(after: list[Json], words: str | None) -> None:
    found = change_findings(restarts([pod()]), restarts(after))
    assert [finding.evidence for finding in found] == ([words] if words else [])


def scrape(name: str, role: str, requests: int, tokens: int, started: int = 1) -> Json:
    lines = [
        f'vllm:request_success_total{{engine="0",finished_reason="length"}} {requests}',
        f'vllm:request_success_total{{engine="0",finished_reason="abort"}} {requests + 7}',
        f'vllm:generation_tokens_total{{engine="0"}} {tokens}',
        f"process_start_time_seconds {started}",
    ]
    return {"pod": name, "role": role, "port": 8200, "lines": lines}


def marker(before: list[Json], after: list[Json]) -> Json:
    return {"counters": {"before": before, "after": after}}


def test_counters_are_told_apart_by_what_was_before() -> None:
    run = marker(
        [scrape("d-0", "decode", 5, 500), scrape("p-0", "prefill", 5, 5)],
        [scrape("d-0", "decode", 69, 6900), scrape("p-0", "prefill", 69, 69)],
    )
    rows, problems = counted(run)
    assert problems == []
    assert totals(rows).as_dict() == {"requests": 64, "prefilled": 64, "output_tokens": 6400}
    assert rank_rows(rows)[0] == {"role": "decode", "pod": "d-0", "rank": "0", "requests": 64}


def test_ranks_are_told_apart_by_their_engine() -> None:
    def lines(first: int, second: int) -> list[str]:
        return [f'vllm:request_success_total{{engine="{n}"}} {value}' for n, value in enumerate((first, second))]

    one = {"pod": "d-0", "role": "decode", "port": 8200, "lines": lines(1, 2)}
    rows, _problems = counted(marker([one], [{**one, "lines": lines(11, 32)}]))
    assert [(row.rank, row.requests) for row in rows] == [("0", 10), ("1", 30)]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([], [scrape("d-0", "decode", 1, 1)], "not seen before the load"),
        ([scrape("d-0", "decode", 1, 1)], [{**scrape("d-0", "decode", 1, 1), "error": "refused"}], "refused"),
        ([scrape("d-0", "decode", 9, 9)], [scrape("d-0", "decode", 1, 1, started=2)], "started anew"),
    ],
)
def test_counters_that_mean_nothing_are_not_counted(before: list[Json], after: list[Json], words: str) -> None:
    rows, problems = counted(marker(before, after))
    assert rows == []
    assert words in problems[0]
    (finding,) = agreement("f", {"requests": 1, "output_tokens": 1}, rows, problems)
    assert (finding.code, finding.severity) == ("BENCHMARK_COUNTERS", "warning")


ROWS = [Counted("d-0", "decode", "0", 64, 0, 6400), Counted("p-0", "prefill", "0", 64, 0, 64)]


@pytest.mark.parametrize(
    ("requests", "tokens", "severity", "words"),
    [
        (64, 6400, "info", "agree on 64 requests and 6400 output tokens; prefill servers counted 64"),
        (64, None, "info", "agree on 64 requests; prefill"),
        (65, 6400, "error", "64 requests of the client's 65"),
        (64, 6401, "error", "6400 output tokens of the client's 6401"),
        (60, 6000, "warning", "64 requests, the client 60, 6400 output tokens, the client 6000"),
    ],
)
def test_client_and_servers_are_compared(requests: int, tokens: int | None, severity: str, words: str) -> None:
    (finding,) = agreement("f", {"requests": requests, "output_tokens": tokens}, ROWS, [])
    assert finding.severity == severity
    assert words in finding.evidence


def test_without_counters_nothing_is_claimed() -> None:
    assert agreement("f", {"requests": 1, "output_tokens": 1}, [], []) == []
