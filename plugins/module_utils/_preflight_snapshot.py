# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a cluster for all checks, in a fixed number of requests. Private to the collection."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

#: The whole API in one answer: stable since Kubernetes 1.30, as v2beta1 on by default since 1.27.
DISCOVERY = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
#: Of Helm's records the labels are enough: their content is megabytes.
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
LWS = "leaderworkerset.x-k8s.io/v1"
NETWORKS = "networking.gke.io/v1"
#: No namespace can have this name: what is granted in it is granted everywhere.
NOWHERE = "-"


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule of what an identity may do."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    names: tuple[str, ...] = ()

    def allows(self, verb: str, group: str, resource: str) -> bool:
        return not self.names and all(
            wanted in given or "*" in given
            for wanted, given in ((verb, self.verbs), (group, self.groups), (resource, self.resources))
        )


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What was seen; None or empty where it does not exist, named in ``unreadable`` where it may not be read."""

    version: str = ""
    #: API version -> kinds that are served.
    kinds: t.Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    nodes: tuple[JsonObject, ...] = ()
    pods: tuple[JsonObject, ...] = ()
    deployments: tuple[JsonObject, ...] = ()
    sets: tuple[JsonObject, ...] = ()
    namespace: JsonObject | None = None
    #: Metadata of the namespace's Secrets, and the keys of the token's one.
    secrets: tuple[JsonObject, ...] = ()
    token: JsonObject | None = None
    quotas: tuple[JsonObject, ...] = ()
    limit_ranges: tuple[JsonObject, ...] = ()
    storage_classes: tuple[JsonObject, ...] = ()
    priority_classes: tuple[JsonObject, ...] = ()
    networks: tuple[JsonObject, ...] = ()
    parameter_sets: tuple[JsonObject, ...] = ()
    dns_slices: tuple[JsonObject, ...] = ()
    #: What the identity may do in the namespace, and what it may do everywhere.
    rules: tuple[Rule, ...] = ()
    rules_everywhere: tuple[Rule, ...] = ()
    rules_incomplete: bool = False
    #: The server's clock minus ours, in seconds; None where it did not tell.
    clock: float | None = None
    unreadable: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    requests: int = 0

    def serves(self, api_version: str, kind: str) -> bool:
        return kind in self.kinds.get(api_version, ())


class Reader:
    """Reads one after the other; a right that is missing costs its part and no more."""

    def __init__(self, client: Client, namespace: str, token_secret: str) -> None:
        self._client = client
        self._namespace = namespace
        self._token = token_secret
        self._unreadable: dict[str, str] = {}

    def take(self) -> Snapshot:
        version = self._client.get("/version")
        # Both are whole seconds or better: the answer is at most as old as the request took.
        clock = None if self._client.server_time is None else self._client.server_time - time.time()
        kinds = served(self._client.raw("GET", "/apis", accept=DISCOVERY).json())
        space = f"/api/v1/namespaces/{self._namespace}"
        token = self._get(f"{space}/secrets/{self._token}", "token")
        rules, incomplete = self._rules(self._namespace)
        everywhere, doubtful = self._rules(NOWHERE)
        return Snapshot(
            version=str(version.get("gitVersion", "")),
            kinds=kinds,
            nodes=self._list("/api/v1/nodes", "nodes"),
            pods=self._list("/api/v1/pods", "pods"),
            deployments=self._list("/apis/apps/v1/deployments", "deployments"),
            sets=self._list_if(kinds, LWS, "LeaderWorkerSet", "leaderworkersets"),
            namespace=self._get(space, "namespace"),
            secrets=self._metadata(f"{space}/secrets", "secrets"),
            token=token and {**token, "data": dict.fromkeys(token.get("data") or {}, "<hidden>")},
            quotas=self._list(f"{space}/resourcequotas", "quotas"),
            limit_ranges=self._list(f"{space}/limitranges", "limit_ranges"),
            storage_classes=self._list("/apis/storage.k8s.io/v1/storageclasses", "storage_classes"),
            priority_classes=self._list("/apis/scheduling.k8s.io/v1/priorityclasses", "priority_classes"),
            networks=self._list_if(kinds, NETWORKS, "Network", "networks"),
            parameter_sets=self._list_if(kinds, NETWORKS, "GKENetworkParamSet", "gkenetworkparamsets"),
            dns_slices=self._dns(),
            rules=rules,
            rules_everywhere=everywhere,
            rules_incomplete=incomplete or doubtful,
            clock=clock,
            unreadable=self._unreadable,
            requests=self._client.request_count,
        )

    def _list(self, path: str, part: str, query: Json | None = None) -> tuple[JsonObject, ...]:
        return self._try(part, lambda: tuple(self._client.list(path, query)), ())

    def _list_if(
        self, kinds: t.Mapping[str, frozenset[str]], version: str, kind: str, plural: str
    ) -> tuple[JsonObject, ...]:
        return self._list(f"/apis/{version}/{plural}", plural) if kind in kinds.get(version, ()) else ()

    def _metadata(self, path: str, part: str) -> tuple[JsonObject, ...]:
        def read() -> tuple[JsonObject, ...]:
            page = self._client.raw("GET", path, {"limit": 5000}, accept=METADATA).json()
            return tuple(page.get("items") or ())

        return self._try(part, read, ())

    def _get(self, path: str, part: str) -> JsonObject | None:
        return self._try(part, lambda: self._client.get_or_none(path), None)

    def _dns(self) -> tuple[JsonObject, ...]:
        query = {"labelSelector": "kubernetes.io/service-name=kube-dns"}
        return self._list("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", "dns_slices", query)

    def _rules(self, namespace: str) -> tuple[tuple[Rule, ...], bool]:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        answer = self._client.create("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body)
        status = answer.get("status") or {}
        rules = tuple(
            Rule(*(tuple(entry.get(key) or ()) for key in ("verbs", "apiGroups", "resources", "resourceNames")))
            for entry in status.get("resourceRules") or ()
        )
        return rules, bool(status.get("incomplete"))

    def _try(self, part: str, read: t.Callable[[], t.Any], otherwise: t.Any) -> t.Any:
        try:
            return read()
        except ApiError as error:
            if not (error.denied or error.not_found):
                raise
            if error.denied:
                self._unreadable[part] = error.message
            return otherwise


def served(discovery: Json) -> dict[str, frozenset[str]]:
    """API version -> kinds, out of the aggregated discovery."""
    found: dict[str, frozenset[str]] = {}
    for group in discovery.get("items") or ():
        for version in group.get("versions") or ():
            kinds = {
                entry["responseKind"]["kind"] for entry in version.get("resources") or () if entry.get("responseKind")
            }
            found[f"{group['metadata']['name']}/{version['version']}"] = frozenset(kinds)
    return found


@dataclasses.dataclass(frozen=True)
class Question:
    """What the checks need to know beside the snapshot: the plan and what it is rendered to."""

    plan: Json
    shape: Json
    objects: tuple[JsonObject, ...]
    #: What the containers of the router and of the benchmark's client ask for; empty: it does not run.
    router_requests: t.Sequence[Json] = ()
    harness_requests: t.Sequence[Json] = ()
    token_secret: str = "llm-d-hf-token"
    token_key: str = "HF_TOKEN"
    token_provided: bool = False
    token_optional: bool = False
    adopt_namespace: bool = False
    pod_security: str = "privileged"
    may_grow: bool = False
    #: CUDA of the model servers' image, where it is known.
    cuda: str = ""
    lws_namespace: str = "lws-system"
    kueue_namespace: str = "kueue-system"
    lws_minimum: str = "0.7.0"
    rights: tuple[Json, ...] = ()

    @property
    def components(self) -> t.Sequence[str]:
        return t.cast("t.Sequence[str]", self.plan["components"])

    @property
    def rehearsal(self) -> bool:
        return "rehearsal" in self.components
