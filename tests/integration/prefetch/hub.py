# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model hub on loopback, for the real huggingface_hub client.

It answers what the client asks for: the listing of a revision with sizes and hashes, the head of a file with its ETag
and commit, a redirect of large files to another address, and ranges of them. What a test orders from it goes wrong.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COMMIT = "4236a6af538feda4548eca9ab308586007567f52"
MODEL = "deepseek-ai/DeepSeek-R1-0528"
#: From here on a file is large: stored apart, named by its sha256.
LARGE = 1 << 20
PIECE = 64 << 10
LARGE_FILES = tuple(f"model-0000{number}-of-000003.safetensors" for number in (1, 2, 3))
#: What of ``contents`` belongs into a cache.
WANTED = ("config.json", "tokenizer.json", *LARGE_FILES)


class Hub(ThreadingHTTPServer):
    """``files`` maps names to contents; the other attributes are the faults and what was seen."""

    daemon_threads = True

    def __init__(
        self, files: t.Mapping[str, bytes], address: tuple[str, int] = ("127.0.0.1", 0), url: str = ""
    ) -> None:
        super().__init__(address, Handler)
        self.files = dict(files)
        self.url = url or f"http://127.0.0.1:{self.server_address[1]}"
        # Another host name, as for the real one: the client follows a redirect within one host by itself.
        self.content_url = self.url.replace("127.0.0.1", "localhost").replace(".svc:", ".svc.cluster.local:")
        #: What is served beside the model, to anyone.
        self.extra: dict[str, bytes] = {}
        self.token: str | None = None
        #: Bytes per second and connection; 0 is as fast as it goes.
        self.speed = 0
        #: How many of the next requests for content are answered with 429, and what they are told to wait.
        self.busy = 0
        self.retry_after: str | None = None
        #: Close the connection of the next so many downloads half way.
        self.drops = 0
        #: Files that are sent in the right size with a wrong byte, and how often.
        self.wrong: dict[str, int] = {}
        self.down = False
        self.lock = threading.Lock()
        self.sent: dict[str, int] = {}
        self.requests: list[tuple[float, str, str, int]] = []

    def take(self, name: str) -> bool:
        """Whether a fault that is counted is due."""
        with self.lock:
            left: int = getattr(self, name)
            setattr(self, name, max(0, left - 1))
        return left > 0

    def take_wrong(self, name: str) -> bool:
        with self.lock:
            left = self.wrong.get(name, 0)
            self.wrong[name] = left - 1
        return left > 0

    def listing(self) -> dict[str, t.Any]:
        siblings = []
        for name, content in self.files.items():
            entry: dict[str, t.Any] = {"rfilename": name, "size": len(content), "blobId": git_hash(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 135}
            siblings.append(entry)
        return {"_id": "1", "id": MODEL, "modelId": MODEL, "sha": COMMIT, "private": False, "siblings": siblings}

    def tree(self) -> list[dict[str, t.Any]]:
        entries = []
        for name, content in self.files.items():
            entry: dict[str, t.Any] = {"type": "file", "path": name, "size": len(content), "oid": git_hash(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 135}
            entries.append(entry)
        return entries

    def control(self, query: t.Mapping[str, list[str]]) -> dict[str, int]:
        """Set a fault by its name, from outside of the process, and tell what was sent."""
        for name, values in query.items():
            setattr(self, name, int(values[-1]) if values[-1].isdigit() else values[-1] or None)
        return {"sent": self.downloads(), "requests": len(self.requests)}

    def asked(self) -> int:
        """How many requests were about the model; newer clients also ask for things of their own."""
        return sum(MODEL in path or "/cdn/" in path for _at, _method, path, _status in self.requests)

    def downloads(self) -> int:
        """How many bytes of files were sent."""
        return sum(self.sent.values())


def contents(megabytes: int, seed: int = 0) -> dict[str, bytes]:
    """A small model: three large files, small ones, and what vLLM does not read."""
    source = random.Random(seed)
    return {
        "config.json": b'{"n_routed_experts": 256}',
        "tokenizer.json": source.randbytes(300_000),
        **{name: source.randbytes(megabytes << 20) for name in LARGE_FILES},
        "pytorch_model.bin": source.randbytes(2 << 20),
        "original/weights.safetensors": source.randbytes(2 << 20),
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def etag(content: bytes) -> str:
    return sha256(content) if len(content) >= LARGE else git_hash(content)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if self.server.down:
            self._reply(503, b"")
        elif path in self.server.extra:
            self._reply(200, self.server.extra[path])
        elif path == "/control":
            self._reply(
                200,
                json.dumps(self.server.control(parse_qs(urlsplit(self.path).query, keep_blank_values=True))).encode(),
            )
        elif self.server.token and not path.startswith("/cdn/") and self._bearer() != self.server.token:
            self._reply(401, b'{"error": "Invalid username or password."}', {"X-Error-Message": "Invalid credentials"})
        elif re.fullmatch(rf"/api/models/{MODEL}(/revision/(main|{COMMIT}))?", path):
            self._reply(200, json.dumps(self.server.listing()).encode(), {"Content-Type": "application/json"})
        elif re.fullmatch(rf"/api/models/{MODEL}/tree/(main|{COMMIT})", path):
            self._reply(200, json.dumps(self.server.tree()).encode(), {"Content-Type": "application/json"})
        elif match := re.fullmatch(rf"/{MODEL}/resolve/(?:main|{COMMIT})/(.+)", path):
            self._resolve(match[1])
        elif match := re.fullmatch(r"/cdn/(.+)", path):
            self._content(match[1])
        else:
            self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _resolve(self, name: str) -> None:
        content = self.server.files[name]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(content)}"', "Accept-Ranges": "bytes"}
        if len(content) < LARGE:
            self._content(name, headers)
            return
        large = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{etag(content)}"'}
        self._reply(302, b"", {**headers, **large, "Location": f"{self.server.content_url}/cdn/{name}"})

    def _content(self, name: str, headers: t.Mapping[str, str] | None = None) -> None:
        if self.command == "GET" and self.server.take("busy"):
            wait = {"Retry-After": self.server.retry_after} if self.server.retry_after else {}
            self._reply(429, b"too many requests", wait)
            return
        content = self.server.files[name]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        where = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if asked else {}
        body = content[start:]
        if self.command == "GET" and self.server.take_wrong(name):
            body = body[:-1] + bytes([body[-1] ^ 1])
        self._reply(206 if asked else 200, body, {**(headers or {}), **where}, name)

    def _reply(self, status: int, body: bytes, headers: t.Mapping[str, str] | None = None, name: str = "") -> None:
        with self.server.lock:
            self.server.requests.append((time.monotonic(), self.command, self.path, status))
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send(body, name)

    def _send(self, body: bytes, name: str) -> None:
        end = len(body) // 2 if name and len(body) >= LARGE and self.server.take("drops") else len(body)
        try:
            for start in range(0, end, PIECE):
                piece = body[start : min(end, start + PIECE)]
                self.wfile.write(piece)
                if name:
                    with self.server.lock:
                        self.server.sent[name] = self.server.sent.get(name, 0) + len(piece)
                    if self.server.speed:
                        time.sleep(len(piece) / self.server.speed)
        except OSError:
            self.close_connection = True
        if end < len(body):
            self.close_connection = True

    def log_message(self, format: str, *args: t.Any) -> None:
        """Requests are recorded, not printed."""
