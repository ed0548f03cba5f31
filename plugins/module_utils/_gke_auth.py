# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials for Google's APIs by google-auth. Private to the collection; it may change at any time.

A token is never an argument: it comes from files, from the environment's application default credentials, or from a
metadata server, and it leaves only in a header of the request.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import traceback
import typing as t
from urllib.parse import urlsplit

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import SCOPE, CredentialsError

try:
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.requests
    import google.oauth2.credentials
    import google.oauth2.service_account
    import requests
except ImportError:
    GOOGLE_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    GOOGLE_IMPORT_ERROR = None

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# How long a token from a file is trusted before the file is read again.
FILE_TOKEN_SECONDS = 30
# Seconds for a connection and for an answer.
PATIENCE = (10, 60)
# Where application default credentials of any kind are looked for first.
ENVIRONMENT = "GOOGLE_APPLICATION_CREDENTIALS"


def findings(params: t.Mapping[str, t.Any]) -> list[Finding]:
    """What is wrong with the options of access, before any call."""
    result = endpoint_findings(params["api_endpoint"])
    if params["access_token_file"] and params["credentials_file"]:
        fix = "Leave one of them out."
        seen = "both are set, and only one can name the credentials"
        result.append(Finding("INPUT_COMBINATION", "error", "access_token_file, credentials_file", seen, fix))
    return result


def endpoint_findings(api_endpoint: str | None) -> list[Finding]:
    """A token must not travel in clear text."""
    if not api_endpoint:
        return []
    url = urlsplit(api_endpoint)
    safe = url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)
    if safe and url.path in ("", "/"):
        return []
    return [
        Finding(
            "INPUT_TYPE",
            "error",
            "api_endpoint",
            f"{api_endpoint!r} is neither https://HOST nor http:// on the loopback interface",
            "Leave it out for Google, or write scheme, host and port alone.",
        )
    ]


def session(credentials_file: str | None, access_token_file: str | None) -> t.Any:
    """A requests session that carries a token and refreshes it."""
    try:
        credentials = _credentials(credentials_file, access_token_file)
    except (google.auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
        where = credentials_file or access_token_file or "application default credentials"
        raise CredentialsError(f"{where}: {_first_line(error)}") from error
    opened = google.auth.transport.requests.AuthorizedSession(credentials)
    # A .netrc entry would replace the header with the token.
    opened.auth = _keep_header
    return opened


def _keep_header(request: t.Any) -> t.Any:
    return request


def _credentials(credentials_file: str | None, access_token_file: str | None) -> t.Any:
    if access_token_file:
        path = pathlib.Path(access_token_file).expanduser()
        _token(path)
        return google.oauth2.credentials.Credentials(None, refresh_handler=lambda *_args, **_kwargs: _token(path))
    if credentials_file:
        return _from_file(pathlib.Path(credentials_file).expanduser())
    return google.auth.default(scopes=[SCOPE])[0]


def _from_file(path: pathlib.Path) -> t.Any:
    """The two kinds that name no address and no program of their own to get tokens from."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "service_account":
        return google.oauth2.service_account.Credentials.from_service_account_info(content, scopes=[SCOPE])
    if kind == "authorized_user":
        return google.oauth2.credentials.Credentials.from_authorized_user_info(content)
    raise ValueError(f"type is {kind!r}, not service_account or authorized_user; name others in {ENVIRONMENT}")


def _token(path: pathlib.Path) -> tuple[str, datetime.datetime]:
    token = path.read_text(encoding="utf-8").strip()
    if not token:
        raise ValueError(f"{path} is empty")
    # google-auth compares with UTC without a zone, and refreshes 225 s before the end.
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    return token, now + datetime.timedelta(seconds=225 + FILE_TOKEN_SECONDS)


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).partition("\n")[0]


def send(opened: t.Any, verb: str, url: str, query: t.Mapping[str, str], body: t.Any) -> t.Any:
    """One request. OSError is raised when there is no answer, CredentialsError when there is no token."""
    try:
        return opened.request(verb, url, params=dict(query) or None, json=body, timeout=PATIENCE, allow_redirects=False)
    except google.auth.exceptions.TransportError as error:
        raise OSError(f"no token: {_first_line(error)}") from error
    except google.auth.exceptions.RefreshError as error:
        if getattr(error, "retryable", False):
            raise OSError(f"no token: {_first_line(error)}") from error
        raise CredentialsError(f"the token cannot be refreshed: {_first_line(error)}") from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise CredentialsError(_first_line(error)) from error
    except requests.exceptions.RequestException as error:
        raise OSError(f"{type(error).__name__}: {_first_line(error)}") from error
