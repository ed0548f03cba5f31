# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the endpoint from inside the cluster and reads the counters of every model-server pod before and after.

With ``transfers`` in its input it asks decode pods directly instead, each request through a prefill pod that it names.
Runs in the client pod with nothing but the standard library. It collects; what the result means is judged outside.
Usage: client.py INPUT.json; the report goes to standard output between two marker lines.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import prometheus_text as prometheus

BEGIN = "-----BEGIN PD PROOF-----"
END = "-----END PD PROOF-----"
SCHEMA = 1
KEPT_TEXT = 400
MAX_THREADS = 64
#: Prompts differ from their first word on: a router with prefix affinity sends equal beginnings to one pod.
TOPICS = ("a lighthouse", "granite", "the tide", "a violin", "winter wheat", "copper wire", "an old map", "glass")
KINDS = ("completion", "chat", "chat_stream", "completion_stream")

Json = dict[str, t.Any]


class Reply(t.NamedTuple):
    status: int | None
    headers: t.Mapping[str, str]
    body: str
    error: str | None


def call(method: str, url: str, body: Json | None, timeout: float, extra: t.Mapping[str, str] | None = None) -> Reply:
    """One request over its own connection, so that a proxy balances every request afresh."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    payload = None if body is None else json.dumps(body)
    headers = {"Connection": "close", **({"Content-Type": "application/json"} if payload else {}), **(extra or {})}
    try:
        connection.request(method, parts.path or "/", payload, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", errors="replace")
    except TimeoutError:
        return Reply(None, {}, "", f"no answer within {timeout:g} s")
    except (OSError, http.client.HTTPException) as error:
        return Reply(None, {}, "", getattr(error, "strerror", None) or str(error) or type(error).__name__)
    else:
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, text, None)
    finally:
        connection.close()


def address(ip: str, port: int) -> str:
    return f"http://[{ip}]:{port}" if ":" in ip else f"http://{ip}:{port}"


def scrape(target: Json, timeout: float) -> list[Json]:
    """The counters behind every port of one pod; through the sidecar where the server's own port gives no answer."""
    return [_scrape_port(target, index, port, timeout) for index, port in enumerate(target["ports"])]


def _scrape_port(target: Json, index: int, port: int, timeout: float) -> Json:
    found = {"pod": target["pod"], "port": port, "error": None, "sidecar": None, "lines": []}
    reply = call("GET", address(target["ip"], port) + "/metrics", None, timeout)
    sidecars = target.get("sidecar_ports") or []
    if reply.status != 200 and index < len(sidecars):
        behind = address(target["ip"], sidecars[index])
        through = call("GET", behind + "/metrics", None, timeout)
        if through.status == 200:
            reply = through
        else:
            health = call("GET", behind + "/health", None, timeout)
            found["sidecar"] = health.error or health.status
    if reply.status != 200:
        return {**found, "error": reply.error or f"HTTP {reply.status}"}
    return {**found, "lines": prometheus.kept_lines(reply.body)}


def scrape_all(pool: ThreadPoolExecutor, plan: Json) -> list[Json]:
    results = pool.map(lambda target: scrape(target, plan["scrape_timeout"]), plan["targets"])
    return [one for several in results for one in several]


def scrape_routers(plan: Json) -> list[Json]:
    """What the endpoint picker has decided by its own count. It may ask for a token; then the servers' counts stand."""
    found = []
    for router in plan.get("routers") or ():
        reply = call("GET", address(router["ip"], router["port"]) + "/metrics", None, plan["scrape_timeout"])
        error = None if reply.status == 200 else reply.error or f"HTTP {reply.status}"
        found.append({"pod": router["pod"], "error": error, "lines": prometheus.kept_lines(reply.body)})
    return found


def request_of(kind: str, model: str, prompt: str | None, max_tokens: int) -> tuple[str, Json]:
    """Path and body. Without a prompt the body is the guide's own first request."""
    if prompt is None:
        return "/v1/completions", {"model": model, "prompt": "How are you today?"}
    chat = kind.startswith("chat")
    content: Json = {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    stream: Json = {"stream": True} if kind.endswith("stream") else {}
    path = "/v1/chat/completions" if chat else "/v1/completions"
    return path, {"model": model, **content, "max_tokens": max_tokens, **stream}


def ask(plan: Json, kind: str, prompt: str | None = None, url: str | None = None, prefill: str | None = None) -> Json:
    path, body = request_of(kind, plan["model"], prompt, plan["max_tokens"])
    start = time.monotonic()
    through = {"x-prefiller-host-port": prefill} if prefill else {}
    reply = call("POST", (url or plan["url"]) + path, body, plan["request_timeout"], through)
    seconds = round(time.monotonic() - start, 3)
    result: Json = {
        "kind": kind,
        "path": path,
        "status": reply.status,
        "error": reply.error,
        "seconds": seconds,
        "pod": reply.headers.get("x-inference-pod"),
        "dropped": reply.headers.get("x-llm-d-request-dropped-reason"),
    }
    if reply.status != 200:
        return {**result, "detail": reply.body[:KEPT_TEXT]}
    return {**result, **(read_stream if body.get("stream") else read_answer)(reply.body)}


def read_answer(body: str) -> Json:
    try:
        answer = json.loads(body)
    except ValueError:
        return {"detail": f"not JSON: {body[:KEPT_TEXT]}"}
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        return {"detail": f"no list of choices: {body[:KEPT_TEXT]}"}
    texts = [text_of(choice) for choice in answer["choices"]]
    tokens = (answer.get("usage") or {}).get("prompt_tokens")
    return {
        "model": answer.get("model"),
        "choices": len(texts),
        "text": "".join(texts)[:KEPT_TEXT],
        "prompt_tokens": tokens if isinstance(tokens, int) else 0,
    }


def read_stream(body: str) -> Json:
    """Server-sent events: data lines of JSON, closed by the literal [DONE]."""
    done, model, choices, texts, chunks = False, None, 0, [], 0
    for line in body.splitlines():
        name, _colon, data = line.partition(":")
        if name != "data":
            continue
        if data.strip() == "[DONE]":
            done = True
            continue
        try:
            chunk = json.loads(data)
        except ValueError:
            return {"done": done, "detail": f"event is not JSON: {data[:KEPT_TEXT]}"}
        chunks += 1
        model = chunk.get("model") or model
        choices = max(choices, len(chunk.get("choices") or []))
        texts += [text_of(choice) for choice in chunk.get("choices") or []]
    text = "".join(texts)[:KEPT_TEXT]
    return {"done": done, "model": model, "choices": choices, "chunks": chunks, "text": text}


def text_of(choice: t.Any) -> str:
    if not isinstance(choice, dict):
        return ""
    message = choice.get("message") or choice.get("delta") or {}
    # A reasoning model answers into reasoning_content first.
    parts = (choice.get("text"), message.get("reasoning_content"), message.get("content"))
    return "".join(part for part in parts if isinstance(part, str))


def models(plan: Json) -> Json:
    reply = call("GET", plan["url"] + "/v1/models", None, plan["scrape_timeout"])
    try:
        entries = json.loads(reply.body)["data"] if reply.status == 200 else []
        names = [entry["id"] for entry in entries]
        lengths = [entry["max_model_len"] for entry in entries if entry.get("max_model_len")]
    except (ValueError, KeyError, TypeError):
        return {"status": reply.status, "error": f"not a list of models: {reply.body[:KEPT_TEXT]}", "names": []}
    return {"status": reply.status, "error": reply.error, "names": names, "max_model_len": min(lengths, default=None)}


def prompts(plan: Json, first: int, count: int) -> list[tuple[str, str]]:
    """Distinct prompts of all kinds in turn."""
    numbers = range(first, first + count)
    return [(KINDS[n % len(KINDS)], f"{plan['nonce']}-{n}: tell me about {TOPICS[n % len(TOPICS)]}.") for n in numbers]


def long_prompt(plan: Json, max_model_len: int | None) -> tuple[str, str]:
    # A word is at most a few tokens; a quarter of the context leaves room for that and for the answer.
    words = min(plan["long_prompt_words"], max_model_len // 4) if max_model_len else plan["long_prompt_words"]
    text = " ".join(f"{TOPICS[n % len(TOPICS)]} {n}" for n in range(max(words // 3, 1)))
    return "completion", f"{plan['nonce']}-long: {text}"


def moved(before: list[Json], after: list[Json]) -> dict[str, float]:
    """Requests served in between, per pod."""
    grown: dict[str, float] = {}
    for (pod, _rank), count in moved_ranks(before, after).items():
        grown[pod] = grown.get(pod, 0.0) + count
    return grown


def moved_ranks(before: list[Json], after: list[Json]) -> dict[tuple[str, str], float]:
    """Requests served in between, per pod and port, or label of a rank where the server has one."""
    grown: dict[tuple[str, str], float] = {}
    for sign, scrapes in ((-1.0, before), (1.0, after)):
        for one in scrapes:
            served = prometheus.served(prometheus.parse(one["lines"]))
            for rank, total in (served.ranks or {"": served.total}).items():
                key = (one["pod"], f"{one['port']}/{rank}")
                grown[key] = grown.get(key, 0.0) + sign * total
    return grown


def settle(pool: ThreadPoolExecutor, plan: Json, before: list[Json], answered: int) -> list[Json]:
    """Scrape until the counters show what was answered: a server counts a request just after its last byte."""
    deadline = time.monotonic() + plan["settle_timeout"]
    while True:
        after = scrape_all(pool, plan)
        grown = moved(before, after)
        shown = [_tier(plan, grown, role) for role in ("prefill", "decode")]
        if all(sum(tier.values()) >= answered for tier in shown if tier) or time.monotonic() >= deadline:
            return after
        time.sleep(plan["settle_interval"])


def _tier(plan: Json, grown: t.Mapping[str, float], role: str) -> dict[str, float]:
    return {x["pod"]: grown.get(x["pod"], 0.0) for x in plan["targets"] if x["role"] == role}


def worth_more(plan: Json, ranks: t.Mapping[tuple[str, str], float]) -> bool:
    """More prompts can reach a rank that only affinity or chance has left out; they cannot wake a whole tier."""
    grown: dict[str, float] = {}
    for (pod, _rank), count in ranks.items():
        grown[pod] = grown.get(pod, 0.0) + count
    tiers = [tier for tier in (_tier(plan, grown, role) for role in ("prefill", "decode")) if tier]
    return all(any(n > 0 for n in tier.values()) for tier in tiers) and any(n <= 0 for n in ranks.values())


def warm_up(plan: Json) -> Json:
    """The guide's request, repeated while the endpoint has no server for it yet."""
    deadline = time.monotonic() + plan["ready_timeout"]
    while True:
        result = ask(plan, "completion")
        if result["status"] not in (None, 429, 502, 503, 504) or time.monotonic() >= deadline:
            return result
        time.sleep(plan["ready_interval"])


def run(plan: Json) -> Json:
    report: Json = {"schema": SCHEMA, "url": plan["url"], "stage": "scrape", "requests": [], "after": []}
    with ThreadPoolExecutor(max_workers=max(plan["concurrency"], len(plan["targets"]), 1)) as pool:
        report["before"] = scrape_all(pool, plan)
        if any(one["error"] for one in report["before"]):
            return report
        report |= {"router_before": scrape_routers(plan), "stage": "warm_up"}
        report |= {"models": models(plan), "requests": [warm_up(plan)]}
        if report["requests"][0]["status"] != 200:
            return {**report, "router_after": scrape_routers(plan)}
        jobs = [*prompts(plan, 0, plan["requests"] - 2), long_prompt(plan, report["models"].get("max_model_len"))]
        width = plan["concurrency"]
        while jobs:
            with ThreadPoolExecutor(max_workers=width) as senders:
                report["requests"] += senders.map(lambda job: ask(plan, *job), jobs)
            answered = sum(one["status"] == 200 for one in report["requests"])
            report["after"] = settle(pool, plan, report["before"], answered)
            asked = len(report["requests"])
            ranks = moved_ranks(report["before"], report["after"])
            # A pod's own balancer takes its first ranks while there is little to do: ask for as much as all can hold.
            width = max(plan["concurrency"], min(len(ranks), MAX_THREADS))
            room = min(max(plan["requests"], width), plan["max_requests"] - asked) if answered == asked else 0
            jobs = prompts(plan, asked, room) if room > 0 and worth_more(plan, ranks) else []
    return {**report, "router_after": scrape_routers(plan), "stage": "done"}


def transfer(plan: Json) -> Json:
    """Prompts of known length through prefill pods by name: the KV cache of each leaves the pod that it names."""

    def one(number: int, job: Json) -> Json:
        words = " ".join(f"{TOPICS[n % len(TOPICS)]} {n}" for n in range(max(job["words"] // 3, 1)))
        prompt = f"{plan['nonce']}-kv-{number}: {words}"
        return {**ask(plan, "completion", prompt, job["url"], job["prefill"]), "prefill": job["pod"]}

    with ThreadPoolExecutor(max_workers=max(plan["concurrency"], 1)) as pool:
        requests = list(pool.map(one, range(len(plan["transfers"])), plan["transfers"]))
    return {"schema": SCHEMA, "url": plan["url"], "stage": "done", "requests": requests}


def emit(report: Json, out: t.TextIO) -> None:
    """Short lines between markers; the digest tells a whole report from one that the log has cut."""
    text = json.dumps(report, indent=1, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    out.write(f"{BEGIN}\n{text}\n{END} {digest}\n")
    out.flush()


def main(argv: list[str]) -> int:
    with open(argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    start = time.monotonic()
    report = transfer(plan) if plan.get("transfers") else run(plan)
    emit({**report, "seconds": round(time.monotonic() - start, 3)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
