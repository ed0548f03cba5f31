# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's discovery documents as routes and as a validator of bodies and query parameters."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "data" / "gke"
INTEGER_TEXT = re.compile(r"-?\d+")
FORMATS = {
    "int64": INTEGER_TEXT,
    "uint64": re.compile(r"\d+"),
    "google-duration": re.compile(r"-?\d+(\.\d{1,9})?s"),
    "google-datetime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
    "byte": re.compile(r"[A-Za-z0-9+/_-]*={0,2}"),
}
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
BOOLEAN_TEXT = re.compile(r"true|false")

Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Method:
    """One method of a document."""

    document: Document
    name: str
    verb: str
    route: re.Pattern[str]
    request: str | None
    response: str | None
    query: Mapping[str, Json]

    @property
    def id(self) -> str:
        return f"{self.document.name}.{self.name}"


@dataclasses.dataclass(frozen=True)
class Document:
    """A cut-down discovery document."""

    name: str
    revision: str
    schemas: Mapping[str, Json]
    methods: list[Method]

    @classmethod
    def load(cls, path: Path) -> Document:
        raw = json.loads(path.read_text(encoding="utf-8"))
        document = cls(raw["name"], raw["revision"], raw["schemas"], [])
        document.methods.extend(method(document, name, spec, raw) for name, spec in raw["methods"].items())
        return document

    def violations(self, schema: str, value: t.Any, *, sent: bool) -> list[str]:
        """What of ``value`` the schema does not know; a request may not set what is output only."""
        return list(self._check({"$ref": schema}, value, "", sent))

    def _check(self, spec: Json, value: t.Any, where: str, sent: bool) -> Iterator[str]:
        spec = {**self.schemas[spec["$ref"]], **spec} if "$ref" in spec else spec
        if sent and spec.get("readOnly"):
            yield f"{where}: output only"
            return
        kind = spec.get("type", "object")
        if kind == "any":
            return
        right_type = isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
        if not right_type:
            yield f"{where or 'body'}: {type(value).__name__} where {kind} {spec.get('format', '')} belongs".rstrip()
            return
        if kind == "object":
            yield from self._check_object(spec, value, where, sent)
        elif kind == "array":
            for index, item in enumerate(value):
                yield from self._check(spec["items"], item, f"{where}[{index}]", sent)
        else:
            yield from check_scalar(spec, value, where)

    def _check_object(self, spec: Json, value: Json, where: str, sent: bool) -> Iterator[str]:
        known: Json = spec.get("properties", {})
        other = spec.get("additionalProperties")
        for key, inner in value.items():
            path = f"{where}.{key}" if where else key
            if key in known:
                yield from self._check(known[key], inner, path, sent)
            elif other is not None:
                yield from self._check(other, inner, path, sent)
            else:
                yield f"{path}: unknown field"


def check_scalar(spec: Json, value: t.Any, where: str) -> Iterator[str]:
    if "enum" in spec and value not in spec["enum"]:
        yield f"{where}: {value!r} is none of {', '.join(spec['enum'])}"
    form = FORMATS.get(spec.get("format", ""))
    if isinstance(value, str) and form and not form.fullmatch(value):
        yield f"{where}: {value!r} is no {spec['format']}"


def method(document: Document, name: str, spec: Json, raw: Json) -> Method:
    """Container names whole paths in `path`, so that `flatPath` is the one with single segments."""
    template = f"/{raw['servicePath']}{spec.get('flatPath', spec['path'])}"
    route = re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(template))
    query = {key: value for key, value in spec["parameters"].items() if value["location"] == "query"}
    return Method(
        document,
        name,
        spec["httpMethod"],
        re.compile(route),
        spec.get("request", {}).get("$ref"),
        spec.get("response", {}).get("$ref"),
        {**raw["parameters"], **query},
    )


def query_violations(found: Method, query: Mapping[str, str]) -> list[str]:
    """A parameter that the method does not have, or a value of another type."""
    result = []
    for key, value in query.items():
        spec = found.query.get(key)
        if spec is None:
            result.append(f"{key}: unknown query parameter")
            continue
        form = {"integer": INTEGER_TEXT, "boolean": BOOLEAN_TEXT}.get(spec["type"])
        if form and not form.fullmatch(value):
            result.append(f"{key}: {value!r} is no {spec['type']}")
    return result


class Documents:
    """All documents; which of them a call belongs to is told by its path."""

    def __init__(self) -> None:
        self.by_name = {name: Document.load(DATA / f"{name}.v1.json") for name in ("compute", "container")}

    def find(self, verb: str, path: str) -> Method | None:
        return next(
            (
                found
                for document in self.by_name.values()
                for found in document.methods
                if found.verb == verb and found.route.fullmatch(path)
            ),
            None,
        )
