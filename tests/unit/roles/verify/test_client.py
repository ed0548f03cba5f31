# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client program against servers on loopback that behave as a test tells them."""

from __future__ import annotations

import io
import json
import sys
import threading
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from loading import load_file

from ansible_collections.llmd.wide_ep.plugins.module_utils import _prometheus_text
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import read_report

PROGRAM = Path(__file__).parents[4] / "roles" / "verify" / "files" / "client.py"
MODEL = "deepseek-ai/DeepSeek-R1-0528"


@pytest.fixture(scope="module")
def client() -> t.Iterator[ModuleType]:
    """The program, with the module that is mounted beside it in the pod."""
    sys.modules["prometheus_text"] = _prometheus_text
    yield load_file(PROGRAM, "verify_client")
    del sys.modules["prometheus_text"]


class Cluster:
    """One loopback server that plays endpoint, prefill and decode; the port tells which."""

    def __init__(self) -> None:
        self.counts = {"prefill-0": 0, "decode-0": 0, "decode-0-1": 0}
        self.asked: list[dict[str, t.Any]] = []
        self.picks: t.Callable[[int], str] = lambda n: f"decode-0{'-1' if n % 2 else ''}"
        self.status: t.Callable[[int], int] = lambda n: 200
        self.prefills = True
        self.dead: set[str] = set()
        self.lock = threading.Lock()
        self.servers: dict[str, ThreadingHTTPServer] = {}

    def start(self) -> None:
        for name in ("endpoint", *self.counts):
            server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(name))
            self.servers[name] = server
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        for server in self.servers.values():
            server.shutdown()
            server.server_close()

    def port(self, name: str) -> int:
        return int(self.servers[name].server_address[1])

    def plan(self, **changes: t.Any) -> dict[str, t.Any]:
        targets = [
            {"pod": name, "role": name.split("-")[0], "ip": "127.0.0.1", "ports": [self.port(name)]}
            for name in self.counts
        ]
        return {
            "model": MODEL,
            "url": f"http://127.0.0.1:{self.port('endpoint')}",
            "nonce": "n",
            "targets": targets,
            "requests": 8,
            "max_requests": 24,
            "concurrency": 4,
            "max_tokens": 4,
            "long_prompt_words": 90,
            "request_timeout": 5,
            "scrape_timeout": 1,
            "ready_timeout": 0.3,
            "ready_interval": 0.05,
            "settle_timeout": 0.3,
            "settle_interval": 0.02,
            **changes,
        }

    def answer(self, path: str, body: dict[str, t.Any]) -> tuple[int, str]:
        with self.lock:
            number = len(self.asked)
            self.asked.append({"path": path, **body})
            status = self.status(number)
            if status != 200:
                return status, json.dumps({"error": {"message": "refused"}})
            self.counts[self.picks(number)] += 1
            self.counts["prefill-0"] += self.prefills
        if body.get("stream"):
            chunk = json.dumps({"model": body["model"], "choices": [{"delta": {"content": "hi"}}]})
            return 200, f": comment\n\ndata: {chunk}\n\ndata: {chunk}\n\ndata: [DONE]\n\n"
        choice = {"message": {"content": "hi"}} if "messages" in body else {"text": "hi"}
        return 200, json.dumps({"model": body["model"], "choices": [choice], "usage": {"prompt_tokens": 7}})

    def read(self, name: str, path: str) -> tuple[int, str]:
        if path == "/v1/models":
            return 200, json.dumps({"data": [{"id": MODEL, "max_model_len": 120}]})
        if name in self.dead:
            return (200, "ok") if path == "/health" else (502, "")
        if name == "endpoint":
            decided = (
                f'llm_d_inference_scheduler_disagg_decision_total{{decision_type="prefill-decode"}} {len(self.asked)}'
            )
            return 200, f"process_start_time_seconds 5\n{decided}\n"
        reason = "remote_decode" if name.startswith("prefill") else "stop"
        return 200, f'vllm:request_success_total{{finish_reason="{reason}"}} {self.counts[name]}\n'

    def _handler(self, name: str) -> type[BaseHTTPRequestHandler]:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(*cluster.read(name, self.path))

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                through = self.headers.get("x-prefiller-host-port")
                self._reply(*cluster.answer(self.path, {**body, **({"prefill": through} if through else {})}))

            def _reply(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("X-Inference-Pod", "decode-0")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: t.Any) -> None:
                pass

        return Handler


@pytest.fixture
def cluster() -> t.Iterator[Cluster]:
    made = Cluster()
    made.start()
    yield made
    made.stop()


def test_every_kind_of_request_is_sent_and_read(client: ModuleType, cluster: Cluster) -> None:
    report = client.run(cluster.plan())
    assert report["stage"] == "done"
    assert [(one["status"], one["choices"], one["model"]) for one in report["requests"]] == [(200, 1, MODEL)] * 8
    assert {one["kind"] for one in report["requests"]} == set(client.KINDS)
    streams = [one for one in report["requests"] if one["kind"].endswith("stream")]
    assert [(one["done"], one["chunks"], one["text"]) for one in streams] == [(True, 2, "hihi")] * len(streams)
    assert cluster.asked[0] == {"path": "/v1/completions", "model": MODEL, "prompt": "How are you today?"}


def test_prompts_are_distinct_from_their_beginning(client: ModuleType, cluster: Cluster) -> None:
    client.run(cluster.plan())
    prompts = [one.get("prompt") or one["messages"][0]["content"] for one in cluster.asked]
    assert len({prompt.split(":", maxsplit=1)[0] for prompt in prompts}) == len(prompts)


def test_the_long_prompt_stays_within_the_served_context(client: ModuleType, cluster: Cluster) -> None:
    client.run(cluster.plan(long_prompt_words=10_000))
    longest = max((one.get("prompt", "") for one in cluster.asked), key=len)
    assert 20 < len(longest.split()) <= 120 // 2


def test_a_pod_without_requests_gets_further_prompts_up_to_the_bound(client: ModuleType, cluster: Cluster) -> None:
    cluster.picks = lambda n: "decode-0" if n < 12 else "decode-0-1"
    assert len(client.run(cluster.plan())["requests"]) == 16
    cluster.picks = lambda n: "decode-0"
    assert len(client.run(cluster.plan())["requests"]) == 24


def test_a_tier_that_sleeps_gets_no_further_prompts(client: ModuleType, cluster: Cluster) -> None:
    cluster.prefills = False
    report = client.run(cluster.plan())
    assert (report["stage"], len(report["requests"])) == ("done", 8)


@pytest.mark.parametrize(
    ("grown", "expected"),
    [
        ({"prefill-0": [8], "decode-0": [4], "decode-0-1": [4]}, False),
        ({"prefill-0": [8], "decode-0": [8], "decode-0-1": [0]}, True),
        ({"prefill-0": [0], "decode-0": [8], "decode-0-1": [0]}, False),
        ({"prefill-0": [8], "decode-0": [0], "decode-0-1": [0]}, False),
        ({"prefill-0": [4, 4], "decode-0": [3, 1], "decode-0-1": [3, 1]}, False),
        ({"prefill-0": [8, 0], "decode-0": [3, 1], "decode-0-1": [3, 1]}, True),
        ({"prefill-0": [0, 0], "decode-0": [3, 1], "decode-0-1": [3, 0]}, False),
    ],
)
def test_worth_more(client: ModuleType, cluster: Cluster, grown: dict[str, list[float]], expected: bool) -> None:
    ranks = {(pod, str(rank)): count for pod, counts in grown.items() for rank, count in enumerate(counts)}
    assert client.worth_more(cluster.plan(), ranks) is expected


def test_ranks_are_told_apart_by_port_and_by_label(client: ModuleType) -> None:
    def scrape(port: int, **counts: int) -> dict[str, t.Any]:
        lines = [f'vllm:request_success_total{{engine="{rank}"}} {count}' for rank, count in counts.items()]
        return {"pod": "d", "port": port, "error": None, "lines": lines}

    before = [scrape(8200, a=1, b=1), scrape(8201, a=1, b=1)]
    after = [scrape(8200, a=1, b=3), scrape(8201, a=2, b=1)]
    grown = client.moved_ranks(before, after)
    assert grown == {("d", "8200/a"): 0, ("d", "8200/b"): 2, ("d", "8201/a"): 1, ("d", "8201/b"): 0}
    assert client.moved(before, after) == {"d": 3}


def test_the_endpoint_picker_is_asked_what_it_decided(client: ModuleType, cluster: Cluster) -> None:
    router = {"pod": "epp", "ip": "127.0.0.1", "port": cluster.port("endpoint")}
    refusing = {"pod": "epp-2", "ip": "127.0.0.1", "port": cluster.port("decode-0")}
    plan = cluster.plan(routers=[router, refusing])
    report = client.run(plan)
    cluster.dead.add("decode-0")
    assert [one["error"] for one in report["router_before"]] == [None, None]
    assert [one["error"] for one in client.scrape_routers(plan)] == [None, "HTTP 502"]
    read = read_report(framed(client, report))
    (decided, _other) = read.decisions_after
    assert (decided.pod, decided.counts, decided.started) == ("epp", {"prefill-decode": 8}, 5.0)
    assert read.decisions_before[0].counts == {"prefill-decode": 0}


def test_transfers_go_through_the_prefill_pod_that_they_name(client: ModuleType, cluster: Cluster) -> None:
    url = f"http://127.0.0.1:{cluster.port('decode-0')}"
    jobs = [{"url": url, "prefill": f"10.0.0.{n}:8000", "pod": f"prefill-{n}", "words": 60} for n in range(3)]
    report = read_report(framed(client, client.transfer(cluster.plan(transfers=jobs))))
    assert [(one.prefill, one.ok, one.prompt_tokens) for one in report.answers] == [
        (f"prefill-{n}", True, 7) for n in range(3)
    ]
    assert {one["prefill"] for one in cluster.asked} == {f"10.0.0.{n}:8000" for n in range(3)}
    assert len({one["prompt"] for one in cluster.asked}) == 3
    assert min(len(one["prompt"].split()) for one in cluster.asked) >= 40


def framed(client: ModuleType, report: dict[str, t.Any]) -> str:
    out = io.StringIO()
    client.emit(report, out)
    return out.getvalue()


def test_it_ends_where_a_pod_cannot_be_scraped(client: ModuleType, cluster: Cluster) -> None:
    cluster.dead.add("decode-0")
    plan = cluster.plan()
    plan["targets"][1]["sidecar_ports"] = [cluster.port("decode-0")]
    report = client.run(plan)
    assert (report["stage"], cluster.asked) == ("scrape", [])
    assert [(one["error"], one["sidecar"]) for one in report["before"]] == [
        (None, None),
        ("HTTP 502", 200),
        (None, None),
    ]


def test_counters_are_read_through_the_sidecar_where_the_server_has_no_open_port(
    client: ModuleType, cluster: Cluster
) -> None:
    plan = cluster.plan()
    closed = cluster.port("decode-0")
    cluster.servers["decode-0"].shutdown()
    cluster.servers["decode-0"].server_close()
    plan["targets"][1] |= {"ports": [closed], "sidecar_ports": [cluster.port("decode-0-1")]}
    assert [one["error"] for one in client.run(plan)["before"]] == [None, None, None]
    plan["targets"][1]["sidecar_ports"] = [closed]
    broken = client.run(plan)["before"][1]
    assert "refused" in broken["error"]
    assert "refused" in broken["sidecar"]


@pytest.mark.parametrize(
    ("status", "stage", "asked"),
    [
        (lambda n: 404, "warm_up", 1),
        (lambda n: 503 if n < 2 else 200, "done", 10),
        (lambda n: 503 if n == 3 else 200, "done", 8),
    ],
)
def test_failures(client: ModuleType, cluster: Cluster, status: t.Callable[[int], int], stage: str, asked: int) -> None:
    cluster.status = status
    report = client.run(cluster.plan())
    assert (report["stage"], len(cluster.asked)) == (stage, asked)


def test_an_endpoint_that_never_gets_ready_is_asked_only_for_a_while(client: ModuleType, cluster: Cluster) -> None:
    cluster.status = lambda n: 503
    report = client.run(cluster.plan())
    assert report["stage"] == "warm_up"
    assert 2 <= len(cluster.asked) < 20
    assert report["requests"][0]["detail"] == json.dumps({"error": {"message": "refused"}})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"model": "m", "choices": [{"text": "a"}, {"text": "b"}]}', {"model": "m", "choices": 2, "text": "ab"}),
        ('{"model": "m", "choices": [{"message": {"reasoning_content": "r", "content": null}}]}', {"text": "r"}),
        ("<html>", {"detail": "not JSON: <html>"}),
        ('{"error": "x"}', {"detail": 'no list of choices: {"error": "x"}'}),
        ("[]", {"detail": "no list of choices: []"}),
    ],
)
def test_read_answer(client: ModuleType, body: str, expected: dict[str, t.Any]) -> None:
    assert expected.items() <= client.read_answer(body).items()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", {"done": False, "choices": 0}),
        ("data: [DONE]", {"done": True, "choices": 0}),
        ('data: {"model": "m", "choices": []}\n\ndata: [DONE]\n', {"done": True, "choices": 0, "model": "m"}),
        ("data: oops\n\ndata: [DONE]\n", {"done": False, "detail": "event is not JSON:  oops"}),
    ],
)
def test_read_stream(client: ModuleType, body: str, expected: dict[str, t.Any]) -> None:
    assert expected.items() <= client.read_stream(body).items()


def test_the_report_reaches_the_judge_whole(client: ModuleType, cluster: Cluster) -> None:
    out = io.StringIO("something before\n")
    client.emit({**client.run(cluster.plan()), "seconds": 1.0}, out)
    report = read_report(out.getvalue())
    assert (report.stage, report.answered) == ("done", 8)
    assert sum(one.served.prefilled for one in report.after) == 8
