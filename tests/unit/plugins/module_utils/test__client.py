# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import socket
import threading
import time
import typing as t
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import (
    APPLY_PATCH,
    ApiError,
    Client,
    ConfigError,
    Resource,
    Unreachable,
    load_client,
)

Answer = tuple[int, dict[str, str], t.Any]


class Server(http.server.ThreadingHTTPServer):
    """Answers what the test prepared and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked: list[dict[str, t.Any]] = []
        self.delay = 0.0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: t.Any) -> None:
        pass

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(
            {
                "method": self.command,
                "path": url.path,
                "query": {key: values[0] for key, values in parse_qs(url.query).items()},
                "headers": {key.lower(): value for key, value in self.headers.items()},
                "body": json.loads(body) if body else None,
            }
        )
        time.sleep(self.server.delay)
        status, headers, answer = self.server.answers.pop(0)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()


def kubeconfig(path: pathlib.Path, url: str) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "first",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "canary"}}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("first", "second")],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def client(server: Server, tmp_path: pathlib.Path) -> Client:
    return load_client(kubeconfig(tmp_path / "config", f"http://127.0.0.1:{server.server_port}"), timeout=2)


def test_list_follows_pages_and_fills_in_kinds(server: Server, client: Client) -> None:
    server.answers = [
        (
            200,
            {},
            {
                "apiVersion": "v1",
                "kind": "PodList",
                "metadata": {"continue": "t"},
                "items": [{"metadata": {"name": "a"}}],
            },
        ),
        (200, {}, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    items = client.list("/api/v1/pods", {"labelSelector": "a=b,c", "fieldSelector": None})
    assert [(item["kind"], item["apiVersion"], item["metadata"]["name"]) for item in items] == [
        ("Pod", "v1", "a"),
        ("Pod", "v1", "b"),
    ]
    assert [ask["query"] for ask in server.asked] == [
        {"limit": "500", "labelSelector": "a=b,c"},
        {"limit": "500", "labelSelector": "a=b,c", "continue": "t"},
    ]
    assert client.request_count == 2
    assert server.asked[0]["headers"]["authorization"] == "Bearer canary"


def test_apply_is_a_server_side_apply(server: Server, client: Client) -> None:
    server.answers = [(200, {"Warning": '299 - "unknown field \\"spec.x\\""'}, {})] * 2
    client.apply("/api/v1/namespaces/n/configmaps/c", {"kind": "ConfigMap"}, dry_run=True, force=True)
    client.apply("/api/v1/namespaces/n/configmaps/c", {"kind": "ConfigMap"})
    asked = server.asked[0]
    assert (asked["method"], asked["body"]) == ("PATCH", {"kind": "ConfigMap"})
    assert asked["query"] == {"fieldManager": "llmd.wide_ep", "force": "true", "dryRun": "All"}
    assert asked["headers"]["content-type"] == APPLY_PATCH
    assert "dryRun" not in server.asked[1]["query"]
    assert client.warnings == ['unknown field "spec.x"']


@pytest.mark.parametrize(
    ("call", "method", "content_type"),
    [
        (lambda c: c.create("/x", {"a": 1}), "POST", "application/json"),
        (lambda c: c.replace("/x", {"a": 1}), "PUT", "application/json"),
        (lambda c: c.patch("/x", {"a": 1}), "PATCH", "application/merge-patch+json"),
        (lambda c: c.delete("/x", {"a": 1}), "DELETE", "application/json"),
    ],
)
def test_writes(
    server: Server, client: Client, call: t.Callable[[Client], t.Any], method: str, content_type: str
) -> None:
    server.answers = [(200, {}, {"ok": True})]
    assert call(client) == {"ok": True}
    asked = server.asked[0]
    assert (asked["method"], asked["headers"]["content-type"], asked["body"]) == (method, content_type, {"a": 1})


def status(code: int, reason: str, message: str) -> dict[str, t.Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


FORBIDDEN = 'pods is forbidden: User "u" cannot list resource "pods"'


@pytest.mark.parametrize(
    ("answer", "text", "kind"),
    [
        ((403, {}, status(403, "Forbidden", FORBIDDEN)), f"403 Forbidden: {FORBIDDEN}", "denied"),
        ((401, {}, status(401, "Unauthorized", "Unauthorized")), "401 Unauthorized: Unauthorized", "denied"),
        ((409, {}, status(409, "Conflict", "modified")), "409 Conflict: modified", ""),
        ((429, {"Retry-After": "7"}, status(429, "TooManyRequests", "slow")), "429 TooManyRequests: slow", "transient"),
        ((503, {}, "upstream connect error"), "503 HTTP 503: upstream connect error", "transient"),
        ((500, {}, "[1, 2]"), "500 HTTP 500: [1, 2]", "transient"),
    ],
)
def test_errors_carry_the_servers_words(server: Server, client: Client, answer: Answer, text: str, kind: str) -> None:
    server.answers = [answer]
    with pytest.raises(ApiError) as caught:
        client.get("/api/v1/pods")
    error = caught.value
    assert str(error) == f"GET /api/v1/pods: {text}"
    assert (error.transient, error.denied) == (kind == "transient", kind == "denied")
    assert error.retry_after == (7.0 if answer[1] else None)


def test_get_or_none(server: Server, client: Client) -> None:
    server.answers = [(404, {}, status(404, "NotFound", "no")), (403, {}, status(403, "Forbidden", "no"))]
    assert client.get_or_none("/x") is None
    with pytest.raises(ApiError):
        client.get_or_none("/x")


def test_discover_caches_what_exists_only(server: Server, client: Client) -> None:
    entry = {"name": "leaderworkersets", "kind": "LeaderWorkerSet", "namespaced": True}
    served = {"resources": [{"name": "leaderworkersets/status", "kind": "LeaderWorkerSet", "namespaced": True}, entry]}
    server.answers = [(404, {}, status(404, "NotFound", "no")), (200, {}, served)]
    arguments = ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")
    assert client.discover(*arguments) is None
    found = client.discover(*arguments)
    assert found == client.discover(*arguments) == Resource(*arguments, "leaderworkersets", True)
    assert client.request_count == 2


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        (Resource("v1", "Pod", "pods", True), "n", "p", "/api/v1/namespaces/n/pods/p"),
        (Resource("v1", "Pod", "pods", True), None, None, "/api/v1/pods"),
        (Resource("v1", "Node", "nodes", False), "n", "x", "/api/v1/nodes/x"),
        (Resource("apps/v1", "Deployment", "deployments", True), "n", None, "/apis/apps/v1/namespaces/n/deployments"),
        (Resource("v1", "Pod", "pods", True), "n", "../secrets", "/api/v1/namespaces/n/pods/..%2Fsecrets"),
    ],
)
def test_paths(resource: Resource, namespace: str | None, name: str | None, path: str) -> None:
    assert resource.path(namespace, name) == path


def test_template() -> None:
    assert (
        Resource("apps/v1", "Deployment", "deployments", True).template
        == "/apis/apps/v1/namespaces/{namespace}/deployments"
    )
    assert Resource("v1", "Node", "nodes", False).template == "/api/v1/nodes"


def test_logs_and_rights(server: Server, client: Client) -> None:
    allowed = {"status": {"allowed": False, "reason": "no RBAC policy matched"}}
    server.answers = [(200, {"Date": "Thu, 01 Jan 1970 00:01:00 GMT"}, "a\nb\n"), (201, {}, allowed)]
    assert client.logs("n", "p", "c", tail=5, previous=True) == "a\nb\n"
    assert server.asked[0]["query"] == {"container": "c", "tailLines": "5", "previous": "true"}
    review = client.can_i("patch", "leaderworkersets", group="leaderworkerset.x-k8s.io", namespace="n")
    assert (review.allowed, review.reason) == (False, "no RBAC policy matched")
    assert server.asked[1]["body"]["spec"]["resourceAttributes"] == {
        "verb": "patch",
        "resource": "leaderworkersets",
        "group": "leaderworkerset.x-k8s.io",
        "namespace": "n",
    }


def test_the_servers_clock(server: Server, client: Client) -> None:
    server.answers = [(200, {}, {})]
    client.get("/version")
    assert client.server_time == pytest.approx(time.time(), abs=5)


def test_no_answer_in_time(server: Server, client: Client) -> None:
    server.delay, server.answers = 3, [(200, {}, {})]
    began = time.monotonic()
    expected = r"cannot reach http://127.0.0.1:\d+: no answer in time: .* 0.2 s for the answer"
    with pytest.raises(Unreachable, match=expected) as caught:
        client.raw("GET", "/version", timeout=0.2)
    assert time.monotonic() - began < 1
    assert caught.value.transient


def test_connection_refused(tmp_path: pathlib.Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(Unreachable) as caught:
            load_client(kubeconfig(tmp_path / "config", url)).get("/version")
    assert str(caught.value) == f"cannot reach {url}: connection refused"


def test_a_closed_kept_alive_connection_is_opened_again(server: Server, client: Client) -> None:
    server.answers = [(200, {"Connection": "close"}, {"n": 1}), (200, {}, {"n": 2})]
    assert [client.get("/a")["n"], client.get("/b")["n"]] == [1, 2]


def test_a_handshake_that_is_cut_may_work_later(tmp_path: pathlib.Path) -> None:
    """A balancer without a server behind it takes connections and closes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cut() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken = listener.accept()[0]
                    taken.recv(1 << 16)
                    taken.close()

        threading.Thread(target=cut, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unreachable) as caught:
            load_client(kubeconfig(tmp_path / "config", url)).get("/version")
        assert caught.value.transient, str(caught.value)


def test_not_tls_is_not_worth_waiting_for(server: Server, tmp_path: pathlib.Path) -> None:
    client = load_client(kubeconfig(tmp_path / "config", f"https://127.0.0.1:{server.server_port}"))
    with pytest.raises(Unreachable, match="TLS") as caught:
        client.get("/version")
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("name", "context", "text"),
    [
        ("absent", None, "does not exist"),
        ("config", "third", "has no context third; it has: first, second"),
        ("broken", None, "cannot be used"),
    ],
)
def test_unusable_kubeconfig(tmp_path: pathlib.Path, name: str, context: str | None, text: str) -> None:
    kubeconfig(tmp_path / "config", "https://127.0.0.1:1")
    (tmp_path / "broken").write_text("{")
    with pytest.raises(ConfigError, match=text):
        load_client(str(tmp_path / name), context)


def test_kubeconfig_of_the_environment(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "config", "https://10.0.0.1:6443"))
    assert load_client(context="second").server == "https://10.0.0.1:6443"
