# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the parts of Google's APIs that the GKE modules call: routes, validation, tokens, faults, a record.

Its schema is Google's, from the discovery documents. Its behavior is assumed; each rule names where it was read:

DISC  a description in the discovery documents of tests/data/gke
DOC   a page of docs.cloud.google.com
TF    terraform-provider-google-beta 7.45.0, resource container_node_pool
CT    GoogleCloudPlatform/cluster-toolkit at 1047080
KCC   GoogleCloudPlatform/k8s-config-connector, recorded traffic of mockgcp
GNA   GoogleCloudPlatform/gke-networking-api, conditions of its custom resources
"""

from __future__ import annotations

import dataclasses
import http.server
import json
import re
import secrets
import socket
import threading
import time
import typing as t
import urllib.parse
from collections.abc import Callable

from .cloud import Cloud, Json, Refused
from .compute import Compute
from .documents import Documents, Method, query_violations
from .gke import Gke

Moment = t.Literal["before", "after"]


@dataclasses.dataclass
class Fault:
    """Something that goes wrong in calls of ``method`` (a pattern of ids), after ``skip`` of them, ``times`` times.

    ``refuse`` answers an error instead; ``drop`` ends the connection before or after the call was carried out;
    ``operation`` is the error that the call's operation ends with; ``stuck`` keeps it running;
    ``hook`` is called at the moment ``at``.
    """

    method: str
    refuse: Refused | None = None
    drop: Moment | None = None
    operation: Json | None = None
    stuck: bool = False
    hook: Callable[[], None] | None = None
    at: Moment = "after"
    times: int = 1
    skip: int = 0

    def hits(self, method: str) -> bool:
        if self.times <= 0 or not re.fullmatch(self.method, method):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclasses.dataclass(frozen=True)
class Request:
    """A call that was received. Headers are left out: one of them carries the token."""

    verb: str
    path: str
    query: str
    body: str
    method: str
    status: int

    @property
    def writes(self) -> bool:
        return self.verb != "GET"


class StandIn:
    """Google's two APIs and its token service on one port of the loopback interface."""

    def __init__(self, cloud: Cloud | None = None, token: str | None = None, port: int = 0) -> None:
        self.cloud = cloud or Cloud()
        self.documents = Documents()
        self.services: dict[str, Compute | Gke] = {"compute": Compute(self.cloud), "container": Gke(self.cloud)}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.lock = threading.Lock()
        self.token_seconds = 3600.0
        self.tokens: dict[str, float] = {token: float("inf")} if token else {}
        self.tokens_issued = 0
        # Makes an access token that ends after some seconds.
        self.mint: Callable[[float], str] = opaque_token
        # What is wrong with a request for a token, or nothing; told by its body.
        self.judge_grant: Callable[[str], str] = any_grant
        # Called after every call that was carried out, with the state locked.
        self.listeners: list[Callable[[], None]] = []
        self.at_end: list[Callable[[], None]] = []
        # Paths beside Google's, for whoever runs a rehearsal.
        self.controls: dict[str, Callable[[bytes], Json]] = {}
        handler = type("Handler", (Handler,), {"stand_in": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> StandIn:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        for action in self.at_end:
            action()

    @property
    def pools(self) -> t.Any:
        return t.cast(Gke, self.services["container"]).pools

    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.writes]

    def issue_token(self) -> Json:
        token = self.mint(self.token_seconds)
        self.tokens[token] = time.monotonic() + self.token_seconds
        self.tokens_issued += 1
        return {"access_token": token, "expires_in": int(self.token_seconds), "token_type": "Bearer"}

    def token(self, body: str) -> tuple[int, Json, tuple[tuple[str, str], ...]]:
        """The answer of the token service; its errors have the form of RFC 6749."""
        wrong = self.judge_grant(body)
        if wrong:
            return 400, {"error": "invalid_grant", "error_description": wrong}, ()
        return 200, self.issue_token(), ()

    def known(self, header: str) -> bool:
        scheme, _space, token = header.partition(" ")
        return scheme == "Bearer" and self.tokens.get(token, 0.0) > time.monotonic()

    def answer(self, verb: str, target: str, header: str, raw: bytes) -> tuple[int, Json, tuple[tuple[str, str], ...]]:
        """Carry out a call; DropConnection when the connection ends without an answer."""
        url = urllib.parse.urlsplit(target)
        method = self.documents.find(verb, url.path)
        status, body, headers = 501, {}, ()
        try:
            if method is None:
                # A call outside the documents fails the test.
                self.violations.append(f"{verb} {url.path} is not in the documents")
                raise Refused(501, f"{verb} {url.path} is not in the documents")
            if not self.known(header):
                raise Refused(401, "Request had invalid authentication credentials.")
            status, body = 200, self.carry_out(method, url, raw)
        except Refused as refused:
            status, body, headers = refused.status, refused.envelope(), refused.headers
        finally:
            text = raw.decode("utf-8", "replace")
            self.requests.append(Request(verb, url.path, url.query, text, method.id if method else "", status))
            for listener in self.listeners:
                listener()
        return status, body, headers

    def carry_out(self, method: Method, url: urllib.parse.SplitResult, raw: bytes) -> Json:
        faults = [fault for fault in self.faults if fault.hits(method.id)]
        self.before(faults)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        body = self.request_body(method, query, raw)
        path = re.sub(r"^/(compute/)?v1/", "", url.path)
        already = set(self.cloud.operations)
        answer = self.services[method.document.name].handle(method.name, path, query, body)
        for name in set(self.cloud.operations) - already:
            for fault in faults:
                self.cloud.operations[name].stuck |= fault.stuck
                self.cloud.operations[name].error = fault.operation or self.cloud.operations[name].error
        if method.response:
            wrong = method.document.violations(method.response, answer, sent=False)
            self.violations += [f"answer of {method.id}: {text}" for text in wrong]
        self.after(faults)
        return answer

    def before(self, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.hook and fault.at == "before":
                fault.hook()
            if fault.drop == "before":
                raise DropConnection
            if fault.refuse:
                raise fault.refuse

    def after(self, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.hook and fault.at == "after":
                fault.hook()
        if any(fault.drop == "after" for fault in faults):
            raise DropConnection

    def request_body(self, method: Method, query: dict[str, str], raw: bytes) -> Json | None:
        """What the documents do not know is refused. GKE does so; of Compute it is not known, and wanted here."""
        body = json.loads(raw) if raw else None
        wrong = query_violations(method, query)
        wrong += [f"{key}: a token does not belong in a URL" for key in ("access_token", "oauth_token") if key in query]
        if method.request is None and body is not None:
            wrong.append("a body where none belongs")
        elif method.request is not None:
            wrong += method.document.violations(method.request, body or {}, sent=True)
        if wrong:
            self.violations += [f"call of {method.id}: {text}" for text in wrong]
            raise Refused(400, f"Invalid JSON payload received: {'; '.join(wrong)}", reason="invalid")
        return body


def opaque_token(_seconds: float) -> str:
    return f"ya29.{secrets.token_hex(16)}"


def any_grant(_body: str) -> str:
    return ""


class DropConnection(Exception):  # noqa: N818
    """Ends the connection without an answer."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One request at a time, so that the state needs no other lock."""

    stand_in: StandIn
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; the second would wait 40 ms for the first one's acknowledgment.
    disable_nagle_algorithm = True

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        try:
            with self.stand_in.lock:
                if self.path == "/token":
                    status, body, headers = self.stand_in.token(raw.decode("utf-8", "replace"))
                elif self.path in self.stand_in.controls:
                    status, body, headers = 200, self.stand_in.controls[self.path](raw), ()
                else:
                    authorization = self.headers.get("Authorization", "")
                    status, body, headers = self.stand_in.answer(self.command, self.path, authorization, raw)
        except DropConnection:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send(status, body, headers)

    def send(self, status: int, body: Json, headers: tuple[tuple[str, str], ...]) -> None:
        content = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for key, value in headers:
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815

    def log_message(self, format: str, *args: t.Any) -> None:
        """Nothing: requests are recorded."""
