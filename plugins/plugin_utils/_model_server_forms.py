# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of single values that go into the model servers. Private to the collection; it may change at any time."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._image import parse_image
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_manifests import EMPTY_DIR

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?")
#: No shell characters and no way up: the kubelet makes the folder where it is missing.
HOST_PATH = re.compile(r"(?!.*/\.\.(/|$))/[A-Za-z0-9_./-]+")
#: A hub name or a path. A leading dash would be an argument of vLLM; quoting keeps the rest away from the shell.
MODEL = re.compile(r"[^\s-][^\x00-\x1f\x7f]*")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute", "", None)


def is_name(value: t.Any) -> bool:
    return isinstance(value, str) and len(value) <= 253 and SUBDOMAIN.fullmatch(value) is not None


def is_label(key: t.Any, value: t.Any) -> bool:
    prefix, slash, name = str(key).rpartition("/")
    if not isinstance(key, str) or not isinstance(value, str):
        return False
    return (
        (not slash or is_name(prefix))
        and LABEL_NAME.fullmatch(name) is not None
        and (value == "" or LABEL_NAME.fullmatch(value) is not None)
    )


def is_toleration(value: t.Any) -> bool:
    if not isinstance(value, t.Mapping) or not set(value) <= {
        "key", "operator", "value", "effect", "tolerationSeconds",
    }:  # fmt: skip
        return False
    operator = value.get("operator", "Equal")
    return value.get("effect") in EFFECTS and (
        (operator == "Exists" and not value.get("value")) or (operator == "Equal" and bool(value.get("key")))
    )


def is_image(value: t.Any) -> bool:
    try:
        parse_image(str(value))
    except ValueError:
        return False
    return True


def number(value: t.Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def is_number(value: t.Any, low: float, high: float = float("inf")) -> bool:
    found = number(value)
    return found is not None and low <= found <= high


def is_references(value: t.Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, t.Mapping) and set(item) == {"name"} and is_name(item["name"]) for item in value
    )


#: The form: its test, and how to write the value.
FORMS: dict[str, tuple[t.Callable[[t.Any], bool], str]] = {
    "image": (is_image, "Write it as registry/repository:tag, or with @sha256: and 64 hexadecimal digits."),
    "name": (is_name, "Use lower-case letters, digits, dashes and dots."),
    "optional name": (lambda value: value == "" or is_name(value), "Use lower-case letters, digits, dashes and dots."),
    "references": (is_references, "Write a list of the form [{name: registry-credentials}]."),
    "labels": (
        lambda value: isinstance(value, t.Mapping) and all(is_label(key, item) for key, item in value.items()),
        'Write label: value; quote numbers, true and false, for example "true".',
    ),
    "tolerations": (
        lambda value: isinstance(value, list) and all(is_toleration(item) for item in value),
        "Write a list of the form [{key: example.com/dedicated, operator: Exists, effect: NoSchedule}].",
    ),
    "optional quantity": (
        lambda value: value == "" or QUANTITY.fullmatch(str(value)) is not None,
        "Write a quantity as Kubernetes does, for example 16Gi.",
    ),
    "cache": (
        lambda value: value in ("", EMPTY_DIR) or HOST_PATH.fullmatch(str(value)) is not None,
        f"Write an absolute path of the node without .., or {EMPTY_DIR}.",
    ),
    "served names": (
        lambda value: isinstance(value, list) and all(MODEL.fullmatch(str(item)) for item in value),
        "Write a list of names, none of which begins with a dash.",
    ),
    "positive": (lambda value: is_number(value, 1), "Write a number of at least 1."),
    "not negative": (lambda value: is_number(value, 0), "Write a number of at least 0."),
    "share": (lambda value: is_number(value, 0.01, 1), "Write a share between 0.01 and 1, for example 0.9."),
}


def form_findings(judged: t.Iterable[t.Sequence[t.Any]]) -> list[Finding]:
    """What is wrong with the values, each given as variable, form and value."""
    findings = []
    for subject, form, value in judged:
        fits, fix = FORMS[form]
        if fits(value):
            continue
        code = "IMAGE_UNFIT" if form == "image" else "INPUT_NAME" if form.endswith("name") else "INPUT_TYPE"
        seen = f"{value!r} cannot be used"
        findings.append(Finding(code, "error", str(subject), seen, fix))
    return findings
