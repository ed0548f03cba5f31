# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the API server and its webhooks accept an object, by dry runs."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display

#: What a webhook's verdict on the object looks like; anything else may still heal while the webhook comes up.
VERDICTS = frozenset({400, 401, 403, 422})
#: Seconds between two dry runs, and between two lines that tell the user what is waited for.
INTERVAL = 0.5
HEARTBEAT = 15.0


class NotServedError(ClientError):
    transient = True


def attempt(client: Client, item: dict[str, t.Any]) -> ClientError | None:
    """Create ``item`` without persisting it; None where it was accepted."""
    resource = client.discover(item["apiVersion"], item["kind"])
    if resource is None:
        return NotServedError(f"the API server does not serve {item['kind']} in {item['apiVersion']}")
    try:
        client.create(resource.path(item["metadata"].get("namespace")), item, dry_run=True)
    except ApiError as error:
        return None if error.status == 409 else error
    except ClientError as error:
        return error
    return None


def is_final(error: ClientError) -> bool:
    return isinstance(error, ApiError) and error.status in VERDICTS and "failed calling webhook" not in error.message


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "definition": {"type": "dict", "required": True},
        "timeout": {"type": "float", "default": 120.0},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        client, item = self.client(arguments), arguments["definition"]
        start = shown = time.monotonic()
        attempts = 0
        while True:
            error = attempt(client, item)
            attempts += 1
            now = time.monotonic()
            result = {"attempts": attempts, "seconds": round(now - start, 1)}
            if error is None:
                return {"accepted": True, **result}
            # In check mode the parts that serve the object may not be installed yet.
            if self.check_mode and not is_final(error):
                return {"accepted": False, **result}
            if is_final(error) or now - start > arguments["timeout"]:
                return {"accepted": False, **result, **self.refusal([refused(item, error, now - start)])}
            if now - shown > HEARTBEAT:
                display.display(f"{item['kind']} not accepted yet after {now - start:.0f} s: {error}")
                shown = now
            time.sleep(INTERVAL)


def refused(item: t.Mapping[str, t.Any], error: ClientError, seconds: float) -> Finding:
    fix = "Look at the pods and events of the webhook that the message names, then run the same command again."
    return Finding("ADMISSION_REFUSED", "error", f"{item['kind']} (dry run)", f"after {seconds:.0f} s: {error}", fix)
