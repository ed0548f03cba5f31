# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of Google's APIs, and what each means for a person. Private to the collection; it may change at any time."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

JsonObject = dict[str, t.Any]
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TRANSIENT_STATUS = frozenset({408, 500, 502, 503, 504})
# Compute tells a rate limit as 403 too.
RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
# Texts of a 429 that no patience helps against.
LASTING_LIMIT = re.compile(r"reservation|insufficient .*quota|quota '|stockout|quota exceeded", re.IGNORECASE)
BUSY = re.compile(r"incompatible operation|is not ready|operation in progress", re.IGNORECASE)
PERMISSION = re.compile(r"[Rr]equired ['\"]([\w.]+)['\"] permission|[Pp]ermission ['\"]([\w.]+)['\"]")


class GoogleError(Exception):
    """Base of everything that the client raises; str() is a message for the user."""


class CredentialsError(GoogleError):
    """There are no credentials, or they can no longer be refreshed."""


class NoAnswer(GoogleError):  # noqa: N818
    """No usable answer: a lost connection or a server error. Whether a write was carried out is unknown."""

    def __init__(self, verb: str, url: str, cause: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{verb} {url}: {cause}")
        self.url = url
        self.cause = cause
        self.retry_after = retry_after


class ApiError(GoogleError):
    """An answer that is an error."""

    def __init__(self, verb: str, path: str, status: int, body: t.Any, retry_after: float = 0.0) -> None:
        error = body.get("error") if isinstance(body, dict) else None
        error = error if isinstance(error, dict) else {}
        self.verb = verb
        self.path = path
        self.status = status
        self.code = str(error.get("status", ""))
        self.message = str(error.get("message", "")) or f"HTTP status {status}"
        self.details: list[JsonObject] = [item for item in error.get("details", []) if isinstance(item, dict)]
        listed = [item for item in error.get("errors", []) if isinstance(item, dict)]
        self.reasons = {str(item["reason"]) for item in [*listed, *self.details] if item.get("reason")}
        self.retry_after = retry_after
        super().__init__(f"{verb} {path}: {status} {self.code}: {self.message}")

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def exists(self) -> bool:
        return self.status == 409 and (self.code == "ALREADY_EXISTS" or "alreadyExists" in self.reasons)

    @property
    def rate_limited(self) -> bool:
        if self.status in (403, 429) and self.reasons & RATE_REASONS:
            return True
        return self.status == 429 and not LASTING_LIMIT.search(self.message)

    @property
    def busy(self) -> bool:
        """Another operation has to end first."""
        blocked = self.code == "FAILED_PRECONDITION" or "resourceNotReady" in self.reasons
        return self.status in (400, 409) and blocked and bool(BUSY.search(self.message))

    @property
    def stale(self) -> bool:
        """The object changed since it was read."""
        return (self.status == 409 and self.code == "ABORTED") or self.status == 412


class OperationFailed(GoogleError):  # noqa: N818
    """A long-running operation ended with an error."""

    def __init__(self, name: str, subject: str, code: str, message: str) -> None:
        super().__init__(f"operation {name} on {subject}: {code}: {message}")
        self.name = name
        self.subject = subject
        self.code = code
        self.message = message


class OperationOpen(GoogleError):  # noqa: N818
    """Operations were still running when the time was up."""

    def __init__(self, operations: t.Sequence[tuple[str, str]], seconds: float) -> None:
        self.operations = tuple(operations)
        self.seconds = seconds
        super().__init__(f"still running after {seconds:.0f} s: {', '.join(name for name, _where in operations)}")


# What a failed operation or a condition of a node pool says -> code and fix. The first match counts.
CAUSES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"incorrect for the requested resources", re.IGNORECASE),
        "GCP_RESERVATION",
        "The reservation does not fit the machines: compare machine type and host-maintenance interval with it.",
    ),
    (
        re.compile(r"reservation", re.IGNORECASE),
        "GCP_RESERVATION",
        "The reservation is full, of another shape, or not shared with this project. Free nodes in it or name another.",
    ),
    (
        re.compile(r"GCE_QUOTA_EXCEEDED|quota", re.IGNORECASE),
        "GCP_QUOTA",
        "Ask for more of the quota that is named (IAM & Admin, Quotas), or use fewer nodes or another region.",
    ),
    (
        re.compile(
            r"GCE_STOCKOUT|ZONE_RESOURCE_POOL_EXHAUSTED|enough resources|Not all instances running", re.IGNORECASE
        ),
        "GCP_NO_CAPACITY",
        "The zone has no such machines to give right now. Use a reservation, flex-start or another zone; the node pool "
        "stays and may still fill, so running again later can be enough.",
    ),
    (
        re.compile(r"service.?account", re.IGNORECASE),
        "GCP_PERMISSION",
        "Restore the nodes' service account, or give it the roles logging.logWriter, monitoring.metricWriter, "
        "monitoring.viewer, stackdriver.resourceMetadata.writer and artifactregistry.reader.",
    ),
)


def cause_of(text: str, subject: str, otherwise: str, fix: str) -> Finding:
    """The finding about a text of Google's about ``subject``."""
    for pattern, code, known_fix in CAUSES:
        if pattern.search(text):
            return Finding(code, "error", subject, text, known_fix)
    return Finding(otherwise, "error", subject, text, fix)


def finding_of(error: GoogleError) -> Finding:
    """What a person has to know about an error."""
    if isinstance(error, CredentialsError):
        return Finding(
            "GCP_CREDENTIALS",
            "error",
            "Google credentials",
            str(error),
            "Run `gcloud auth application-default login`, or set credentials_file or access_token_file. What Google "
            "has begun goes on there: run again, and it is taken up by name.",
        )
    if isinstance(error, NoAnswer):
        return Finding(
            "GCP_UNREACHABLE",
            "error",
            error.url,
            error.cause,
            "Check network, proxy and DNS on the control host, then run again: nothing is created twice.",
        )
    if isinstance(error, OperationFailed):
        return cause_of(
            f"operation {error.name}: {error.code}: {error.message}",
            error.subject,
            "GCP_OPERATION_FAILED",
            "Remove the cause that Google names and run again.",
        )
    if isinstance(error, OperationOpen):
        names = ", ".join(f"{name} on {where}" for name, where in error.operations)
        return Finding(
            "GCP_OPERATION_OPEN",
            "error",
            f"not done after {error.seconds:.0f} s",
            names,
            "Run again to go on waiting for it, with a greater timeout if need be.",
        )
    if isinstance(error, ApiError):
        return _api_finding(error)
    return Finding("GCP_REFUSED", "error", "Google's API", str(error), "Correct what the message names and run again.")


def _api_finding(error: ApiError) -> Finding:
    subject = f"{error.verb} {error.path}"
    seen = f"{error.status} {error.code}: {error.message}".replace(" :", ":")
    if error.status == 429:
        return cause_of(seen, subject, "GCP_QUOTA", "Too many requests: wait a few minutes and run again.")
    rules = (
        (error.status == 401, "GCP_CREDENTIALS", "The credentials are expired or wrong: log in anew and run again."),
        (
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in error.reasons,
            "GCP_CREDENTIALS",
            f"The token lacks a scope; it needs {SCOPE}.",
        ),
        (
            bool(error.reasons & {"SERVICE_DISABLED", "accessNotConfigured"}),
            "GCP_PERMISSION",
            "Enable the APIs container.googleapis.com and compute.googleapis.com in the project.",
        ),
        (error.status == 403, "GCP_PERMISSION", f"Give {permission(error)} to the identity that runs this."),
        (
            "resourceInUseByAnotherResource" in error.reasons,
            "GCP_IN_USE",
            "Remove first what uses it, then run again.",
        ),
        (True, "GCP_REFUSED", "Correct the value that the message names and run again."),
    )
    code, fix = next((code, fix) for hit, code, fix in rules if hit)
    return Finding(code, "error", subject, seen, fix)


def permission(error: ApiError) -> str:
    """The permission that Google names, or the roles that have all of them."""
    match = PERMISSION.search(error.message)
    named = next(filter(None, match.groups()), "") if match else ""
    return f"the permission {named}" if named else "the roles container.admin and compute.networkAdmin"
