# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thin typed client of the Kubernetes API on top of the official one.

Private to the collection: it may change at any time, do not import it from elsewhere.

Connection, TLS and credentials (exec plugins, token files) come from the official client; requests are plain
paths and dictionaries, so that built-in and custom kinds are the same thing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import traceback
import typing as t
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode

try:
    import urllib3
    from kubernetes import client as k8s_client
    from kubernetes import config as k8s_config
except ImportError:
    HAS_KUBERNETES = False
    KUBERNETES_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_KUBERNETES = True
    KUBERNETES_IMPORT_ERROR = None

CONNECT_TIMEOUT = 5.0
DEFAULT_TIMEOUT = 10.0
PAGE_SIZE = 500
FIELD_MANAGER = "llmd.wide_ep"
DEFAULT_KUBECONFIG = "~/.kube/config"

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

WARNING_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})

JsonObject = dict[str, t.Any]
Objects = list[JsonObject]
Params = t.Mapping[str, t.Any]


class ClientError(Exception):
    """Base of everything the client raises; str() is a message for the user."""

    transient = False


class ConfigError(ClientError):
    """The kubeconfig, its context or its credentials cannot be used."""


class Unreachable(ClientError):  # noqa: N818
    """No answer from the server. `transient` tells a network fault from a certificate that is not trusted."""

    def __init__(self, server: str, cause: str, *, transient: bool = True) -> None:
        self.server = server
        self.cause = cause
        self.transient = transient
        super().__init__(f"cannot reach {server}: {cause}")


class ApiError(ClientError):
    """The server answered with an error."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        path: str,
        *,
        method: str = "GET",
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.path = path
        self.method = method
        self.retry_after = retry_after
        self.transient = status in TRANSIENT_STATUS
        super().__init__(f"{method} {path}: {status} {reason}: {message}")

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def denied(self) -> bool:
        return self.status in (401, 403)


@dataclass(frozen=True)
class Resource:
    """Where the objects of a kind live."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def prefix(self) -> str:
        return f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def template(self) -> str:
        where = "/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.prefix}{where}/{self.plural}"

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The collection's path, or an object's; without a namespace that of all namespaces."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)


@dataclass(frozen=True)
class Response:
    status: int
    headers: t.Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> t.Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class AccessReview:
    allowed: bool
    reason: str


class Client:
    """Requests over one kept-alive connection pool; `request_count` counts every attempt that was sent."""

    def __init__(self, api: t.Any, *, timeout: float = DEFAULT_TIMEOUT, connect_timeout: float = CONNECT_TIMEOUT):
        self._api = api
        self._pool = api.rest_client.pool_manager
        self._resources: dict[tuple[str, str], Resource] = {}
        self.server: str = api.configuration.host
        self.timeout = timeout
        self.connect_timeout = min(connect_timeout, CONNECT_TIMEOUT)
        self.request_count = 0
        #: The server's clock at the last answer, so that ages do not depend on the clock here.
        self.server_time: float | None = None
        self.warnings: list[str] = []

    @property
    def api(self) -> t.Any:
        """The official client, for what is no plain request: the streams of an exec."""
        return self._api

    def close(self) -> None:
        self._pool.clear()

    def raw(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        body: t.Any = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
    ) -> Response:
        """Send one request; an error status raises ApiError, no answer raises Unreachable."""
        query = urlencode([(k, _query_value(v)) for k, v in (params or {}).items() if v is not None])
        headers = {"Accept": accept, "User-Agent": FIELD_MANAGER, **self._credentials()}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = content_type
        url = f"{self.server}{path}" + (f"?{query}" if query else "")
        answer = self._send(method, url, data, headers, self.timeout if timeout is None else timeout)
        self._note_headers(answer.headers)
        response = Response(answer.status, dict(answer.headers), answer.data or b"")
        if response.status >= 400:
            raise _api_error(method, path, response)
        return response

    def get(self, path: str, params: Params | None = None) -> JsonObject:
        return t.cast("JsonObject", self.raw("GET", path, params).json())

    def get_or_none(self, path: str, params: Params | None = None) -> JsonObject | None:
        try:
            return self.get(path, params)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def list(self, path: str, params: Params | None = None) -> Objects:
        """All items over all pages, each with its apiVersion and kind, which lists leave out."""
        items: Objects = []
        query: dict[str, t.Any] = {"limit": PAGE_SIZE, **(params or {})}
        while True:
            page = self.get(path, query)
            kind = str(page.get("kind", "")).removesuffix("List")
            for item in page.get("items") or []:
                items.append({"apiVersion": page.get("apiVersion"), "kind": kind, **item})
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    def create(self, path: str, body: t.Any, params: Params | None = None, *, dry_run: bool = False) -> JsonObject:
        return t.cast("JsonObject", self.raw("POST", path, _write_params(params, dry_run), body).json())

    def patch(
        self,
        path: str,
        body: t.Any,
        params: Params | None = None,
        *,
        content_type: str = MERGE_PATCH,
        dry_run: bool = False,
    ) -> JsonObject:
        query = _write_params(params, dry_run)
        return t.cast("JsonObject", self.raw("PATCH", path, query, body, content_type=content_type).json())

    def apply(
        self,
        path: str,
        body: JsonObject,
        *,
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> JsonObject:
        """Server-side apply; `path` is the object's own path."""
        params = {"fieldManager": field_manager, "force": force}
        return self.patch(path, body, params, content_type=APPLY_PATCH, dry_run=dry_run)

    def replace(self, path: str, body: t.Any, params: Params | None = None, *, dry_run: bool = False) -> JsonObject:
        """PUT: with the read resourceVersion in the body it fails with 409 when someone else was faster."""
        return t.cast("JsonObject", self.raw("PUT", path, _write_params(params, dry_run), body).json())

    def delete(
        self, path: str, body: t.Any = None, params: Params | None = None, *, dry_run: bool = False
    ) -> JsonObject:
        return t.cast("JsonObject", self.raw("DELETE", path, _write_params(params, dry_run), body).json())

    def discover(self, api_version: str, kind: str) -> Resource | None:
        """Where a kind lives, or None when the server does not serve it (yet: absence is not cached)."""
        found = self._resources.get((api_version, kind))
        if found is not None:
            return found
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        listing = self.get_or_none(prefix) or {}
        for entry in listing.get("resources") or []:
            if "/" in entry["name"]:
                continue
            resource = Resource(api_version, entry["kind"], entry["name"], bool(entry["namespaced"]))
            self._resources.setdefault((api_version, resource.kind), resource)
        return self._resources.get((api_version, kind))

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str | None = None,
        *,
        tail: int | None = 20,
        previous: bool = False,
        since_seconds: int | None = None,
    ) -> str:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log"
        params = {
            "container": container,
            "tailLines": tail,
            "previous": previous or None,
            "sinceSeconds": since_seconds,
        }
        return self.raw("GET", path, params, accept="*/*").text

    def events(self, namespace: str, field_selector: str | None = None) -> Objects:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
        return self.list(path, {"fieldSelector": field_selector})

    def can_i(
        self,
        verb: str,
        resource: str,
        *,
        group: str = "",
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> AccessReview:
        """Ask the server whether this identity has a right (SelfSubjectAccessReview)."""
        asked = {
            "verb": verb,
            "resource": resource,
            "group": group,
            "namespace": namespace,
            "name": name,
            "subresource": subresource,
        }
        attributes = {key: value for key, value in asked.items() if value is not None}
        review = self.create(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
        status = review.get("status") or {}
        return AccessReview(bool(status.get("allowed")), str(status.get("reason", "")))

    def _credentials(self) -> dict[str, str]:
        settings = self._api.configuration.auth_settings().values()
        return {s["key"]: s["value"] for s in settings if s.get("in") == "header" and s.get("value")}

    def _send(self, method: str, url: str, data: bytes | None, headers: JsonObject, timeout: float) -> t.Any:
        limits = urllib3.Timeout(connect=min(self.connect_timeout, timeout), read=timeout)
        # A kept-alive connection that the server has closed meanwhile fails on first use; reading again is safe.
        for last in (False, True) if method == "GET" else (True,):
            self.request_count += 1
            try:
                return self._pool.request(
                    method, url, body=data, headers=headers, timeout=limits, retries=False, redirect=False
                )
            except urllib3.exceptions.ProtocolError as error:
                if last:
                    raise self._unreachable(error, timeout) from error
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._unreachable(error, timeout) from error
        raise AssertionError("unreachable")

    def _unreachable(self, error: BaseException, timeout: float) -> Unreachable:
        return Unreachable(
            self.server,
            _cause(error, connect=min(self.connect_timeout, timeout), read=timeout),
            transient=_passes(error),
        )

    def _note_headers(self, headers: t.Any) -> None:
        """Keep the server's clock and its Warning headers (RFC 7234: code, agent, quoted text)."""
        if date := headers.get("Date"):
            with contextlib.suppress(ValueError):
                self.server_time = parsedate_to_datetime(date).timestamp()
        for value in headers.getlist("Warning"):
            quoted = WARNING_TEXT.search(value)
            text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value
            if text not in self.warnings:
                self.warnings.append(text)


def load_client(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    key_dir: str | None = None,
) -> Client:
    """A client for a kubeconfig file; without one $KUBECONFIG, ~/.kube/config, or the pod's service account.

    The official client writes certificates and keys that the kubeconfig holds inline to files, which it removes when
    the interpreter ends in good order. Whoever does not gives a folder that somebody else removes as ``key_dir``.
    """
    if not HAS_KUBERNETES:
        raise ConfigError("the Python library kubernetes is not installed for this interpreter")
    configuration = k8s_client.Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG
    files = [os.path.expanduser(part) for part in path.split(os.pathsep) if part]
    if any(os.path.isfile(file) for file in files):
        _load_kubeconfig(os.pathsep.join(files), context, configuration, key_dir)
    elif not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        k8s_config.load_incluster_config(client_configuration=configuration)
    else:
        raise ConfigError(
            f"kubeconfig {os.pathsep.join(files)} does not exist; "
            "give the path of one (option kubeconfig) or set KUBECONFIG"
        )
    return Client(k8s_client.ApiClient(configuration), timeout=timeout)


def _load_kubeconfig(path: str, context: str | None, configuration: t.Any, key_dir: str | None) -> None:
    try:
        contexts, _active = k8s_config.list_kube_config_contexts(config_file=path)
    except Exception as error:
        raise ConfigError(f"kubeconfig {path} cannot be used: {_one_line(error)}") from error
    names = [str(entry["name"]) for entry in contexts]
    if context and context not in names:
        raise ConfigError(f"kubeconfig {path} has no context {context}; it has: {', '.join(names) or 'none'}")
    try:
        k8s_config.load_kube_config(
            config_file=path, context=context, client_configuration=configuration, temp_file_path=key_dir
        )
    except Exception as error:
        raise ConfigError(f"kubeconfig {path} cannot be used: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _query_value(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write_params(params: Params | None, dry_run: bool) -> dict[str, t.Any]:
    return {**(params or {}), **({"dryRun": "All"} if dry_run else {})}


def _api_error(method: str, path: str, response: Response) -> ApiError:
    try:
        status = response.json()
    except ValueError:
        status = {}
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"reason": "", "message": response.text.strip()[:500]}
    reason = str(status.get("reason") or f"HTTP {response.status}")
    try:
        retry_after = float({k.lower(): v for k, v in response.headers.items()}["retry-after"])
    except (KeyError, ValueError):
        retry_after = None
    message = str(status.get("message") or "no message")
    return ApiError(response.status, reason, message, path, method=method, retry_after=retry_after)


def _passes(error: BaseException) -> bool:
    """Whether it may work later: a certificate that is not trusted stays so, a handshake that was cut does not."""
    if not isinstance(error, urllib3.exceptions.SSLError):
        return True
    return any(isinstance(one, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for one in (*error.args, error.__cause__))


def _cause(error: BaseException, *, connect: float, read: float) -> str:
    """What went wrong in a few words; urllib3 wraps the reason in objects' representations."""
    text = _one_line(error)
    for phrase in ("Connection refused", "No route to host", "Network is unreachable", "Name or service not known"):
        if phrase in text:
            return phrase[0].lower() + phrase[1:]
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"TLS: {text}"
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return f"no connection within {connect:g} s"
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        # urllib3 gives this name also to a TLS handshake that takes longer than the connect timeout.
        return f"no answer in time: {connect:g} s for the connection, {read:g} s for the answer"
    return text
