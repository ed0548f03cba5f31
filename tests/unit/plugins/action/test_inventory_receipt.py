# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.action import inventory_receipt
from ansible_collections.llmd.wide_ep.plugins.action.inventory_receipt import Reader, _lists, receipt_of, tables
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, Response
from ansible_collections.llmd.wide_ep.plugins.module_utils._receipt import Deployment, Kept, Receipt
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._inventory import namespace_messages

OURS = Deployment("wide-ep-lws", "n")
LABEL = {"wide-ep.llm-d.ai/deployment": "wide-ep-lws"}


def resource(plural: str, kind: str, scope: str) -> dict[str, t.Any]:
    return {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": ["list"]}


CORE = [resource("services", "Service", "Namespaced"), resource("namespaces", "Namespace", "Cluster")]
DISCOVERY = {
    "/api": {"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": CORE}]}]},
    "/apis": {
        "items": [
            {
                "metadata": {"name": "example.org"},
                "versions": [{"version": "v1", "resources": [resource("things", "Thing", "Cluster")]}],
            }
        ]
    },
}


class FakeClient:
    """Serves metadata by path, in pages of one object."""

    def __init__(self, **lists: list[dict[str, t.Any]]) -> None:
        self.lists = lists
        self.namespace = True
        self.refused: dict[str, int] = {}
        self.request_count = 0
        self.asked: list[str] = []
        self.generations = 0

    def raw(self, method: str, path: str, params: t.Any = None, **kwargs: t.Any) -> Response:
        self.request_count += 1
        self.asked.append(path)
        if path in DISCOVERY:
            return self._json(DISCOVERY[path])
        plural = path.rsplit("/", 1)[1]
        if plural in self.refused:
            raise ApiError(self.refused[plural], "Refused", "no", path)
        items = self.lists.get(plural, [])
        at = int((params or {}).get("continue", 0))
        more = {"continue": str(at + 1)} if at + 1 < len(items) else {}
        return self._json({"metadata": more, "items": [{"metadata": item} for item in items[at : at + 1]]})

    def get_or_none(self, path: str, params: t.Any = None) -> t.Any:
        self.request_count += 1
        conditions = [{"status": "True", "message": "x remains"}, {"status": "False", "message": "all is well"}]
        return {"status": {"conditions": conditions}} if self.namespace else None

    @staticmethod
    def _json(body: t.Any) -> Response:
        return Response(200, {}, json.dumps(body).encode())


def reader(client: FakeClient, platform: FakeClient | None = None) -> Reader:
    return Reader(t.cast(Client, client), t.cast(Client, platform or client), OURS)


def service(name: str, **metadata: t.Any) -> dict[str, t.Any]:
    return {"name": name, "namespace": "n", "uid": name, "labels": LABEL, **metadata}


def test_every_page_of_every_kind_is_read() -> None:
    client = FakeClient(services=[service("a"), service("b")], namespaces=[{"name": "n"}])
    assert [one.title for one in reader(client).snapshot().things] == ["Service n/a", "Service n/b", "Namespace n"]


def test_a_namespace_that_is_gone_is_not_read() -> None:
    client = FakeClient()
    client.namespace = False
    reader(client).snapshot()
    assert [path for path in client.asked if path.endswith("services")] == []
    assert "/api/v1/namespaces" in client.asked


def test_what_is_outside_of_namespaces_is_read_as_the_platform() -> None:
    client, platform = FakeClient(), FakeClient()
    reader(client, platform).snapshot()
    assert platform.asked == ["/api/v1/namespaces", "/apis/example.org/v1/things"]
    assert client.asked == ["/api", "/apis", "/api/v1/namespaces/n/services"]


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_kind_that_may_not_be_read_is_told(status: int) -> None:
    client = FakeClient()
    client.refused = {"things": status}
    assert reader(client).snapshot().unreadable == ("things.example.org",)


def test_an_error_of_the_server_is_no_empty_list() -> None:
    client = FakeClient()
    client.refused = {"things": 500}
    with pytest.raises(ApiError):
        reader(client).snapshot()


def test_the_receipt_waits_until_deletion_has_come_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(services=[service("a", deletionTimestamp="T")])
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            client.lists = {}

    monkeypatch.setattr(inventory_receipt.time, "sleep", sleep)
    receipt, _inventory, _snapshot = receipt_of(reader(client), [{"uid": "a"}], timeout=60)
    assert (receipt.removed, receipt.left_over, len(slept)) == (({"uid": "a"},), (), 2)


def test_the_receipt_waits_no_longer_than_its_time() -> None:
    client = FakeClient(services=[service("a", deletionTimestamp="T")])
    receipt, _inventory, _snapshot = receipt_of(reader(client), [{"uid": "a"}], timeout=0)
    assert [one.name for one in receipt.left_over] == ["a"]


def test_messages_of_a_namespace_are_those_of_what_holds_it() -> None:
    client = FakeClient()
    assert namespace_messages(t.cast(Client, client), "n") == ["x remains"]
    client.namespace = False
    assert namespace_messages(t.cast(Client, client), "n") == []


def test_tables_give_each_command_a_line_of_its_own() -> None:
    kept = (Kept("Helm release x", "others", "helm uninstall x"), Kept("Namespace y", "others", "kubectl delete y"))
    made = [table for table in tables(Receipt((), kept, ())) if table["rows"]]
    assert made == [
        {
            "title": "Kept on purpose: others",
            "columns": ["remove it with"],
            "rows": [["helm uninstall x"], ["kubectl delete y"]],
        }
    ]


@pytest.mark.parametrize(
    ("unreadable", "line"),
    [((), None), (("nodes", "pools.example.org"), "nodes, pools.example.org (the identity may not list them)")],
)
def test_the_summary_names_what_could_not_be_looked_at(unreadable: tuple[str, ...], line: str | None) -> None:
    summary = dict(_lists(Receipt((), (), ()), unreadable)["summary"])
    assert (summary["Left over"], summary.get("Not looked at")) == ("nothing", line)
