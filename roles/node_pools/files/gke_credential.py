# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print a token for a GKE cluster, as kubectl, Helm and the clients' libraries ask for it (ExecCredential).

It takes gke-gcloud-auth-plugin's place where there is no gcloud. As that one does, it keeps the token in a file that
only its owner reads: the Python client asks for each request anew while a token is good for less than five minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import sys
import time
import typing

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
API = "client.authentication.k8s.io/v1"
# The Python client asks again for each request from five minutes before the end on; others ask again when a request
# is refused. So a token of unknown age is asked for anew after half a minute.
UNKNOWN_SECONDS = 330


# A kept token is replaced when less than a tenth of its life, and not less than this, is left.
LEAST_SECONDS = 10


def answer(token: str, expiry: datetime.datetime) -> str:
    status = {"token": token, "expirationTimestamp": expiry.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return json.dumps({"apiVersion": API, "kind": "ExecCredential", "status": status})


def from_token_file(path: str) -> str:
    token = pathlib.Path(path).expanduser().read_text(encoding="utf-8").strip()
    if not token:
        raise ValueError(f"{path} is empty")
    now = datetime.datetime.now(datetime.UTC)
    return answer(token, now + datetime.timedelta(seconds=UNKNOWN_SECONDS))


def from_google(path: str) -> str:
    """By google-auth: a service account's key, a user's credentials, or application default credentials."""
    # 0.2 s that a kept token, or one from a file, has no need of: the program runs for many requests.
    import google.auth  # noqa: PLC0415 - see the line above
    import google.auth.transport.requests  # noqa: PLC0415 - see the line above

    credentials = _loaded(path) if path else google.auth.default(scopes=[SCOPE])[0]
    credentials.refresh(google.auth.transport.requests.Request())
    expiry = credentials.expiry or datetime.datetime.now(datetime.UTC)
    return answer(str(credentials.token), expiry)


def source(path: str) -> str:
    """Where the credentials come from; a token of others is not taken."""
    return path or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")


def from_cache(path: str, cache: str) -> str:
    """The answer that was kept, empty where there is none or it is about to end."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(pathlib.Path(cache).read_text(encoding="utf-8"))
        left, life = kept["expiry"] - time.time(), kept["expiry"] - kept["issued"]
        if kept["source"] == source(path) and left > max(LEAST_SECONDS, life / 10):
            return str(kept["answer"])
    return ""


def keep(path: str, cache: str, text: str) -> None:
    """Whole or not at all, for others may read it meanwhile. What cannot be kept is no error."""
    stamp = json.loads(text)["status"]["expirationTimestamp"]
    moment = datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
    kept = {"source": source(path), "issued": time.time(), "expiry": moment.timestamp(), "answer": text}
    fresh = f"{cache}.{os.getpid()}"
    with contextlib.suppress(OSError):
        with open(fresh, "w", encoding="utf-8", opener=_private) as file:
            json.dump(kept, file)
        os.replace(fresh, cache)


def fetched(path: str, cache: str) -> str:
    text = from_google(path)
    if cache:
        keep(path, cache, text)
    return text


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _loaded(path: str) -> typing.Any:
    """The two kinds that name no address and no program of their own to get tokens from."""
    import google.oauth2.credentials  # noqa: PLC0415 - as in from_google
    import google.oauth2.service_account  # noqa: PLC0415 - as in from_google

    content = json.loads(pathlib.Path(path).expanduser().read_text(encoding="utf-8"))
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "service_account":
        return google.oauth2.service_account.Credentials.from_service_account_info(content, scopes=[SCOPE])
    if kind == "authorized_user":
        return google.oauth2.credentials.Credentials.from_authorized_user_info(content)
    raise ValueError(f"{path}: type is {kind!r}, not service_account or authorized_user")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--credentials-file", default="", help="a key or a user's credentials; never the secret itself")
    source.add_argument("--access-token-file", default="", help="a file with a token that another program renews")
    parser.add_argument("--cache", default="", help="a file in which a token is kept until it ends")
    arguments = parser.parse_args()
    try:
        if arguments.access_token_file:
            text = from_token_file(arguments.access_token_file)
        else:
            text = from_cache(arguments.credentials_file, arguments.cache) or fetched(
                arguments.credentials_file, arguments.cache
            )
    except Exception as error:
        # Whoever runs the program shows its last lines; a traceback would hide the reason.
        print(f"no Google credentials: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
