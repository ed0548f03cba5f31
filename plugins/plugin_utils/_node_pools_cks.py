# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CoreWeave's NodePools: what they shall be, and what to do about those that are there. Private to the collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = t.Mapping[str, t.Any]
Action = t.Literal["none", "create", "update", "refuse"]

API = "compute.coreweave.com/v1alpha1"
KIND = "NodePool"
#: "InstanceType cannot be changed", says the webhook.
IMMUTABLE = ("instanceType",)
OWNER = "wide-ep.llm-d.ai/platform"
#: Fields that maps of others live in: ours are compared, theirs stay.
MAPS = ("nodeLabels", "nodeAnnotations")


@dataclasses.dataclass(frozen=True)
class Decision:
    name: str
    action: Action
    fields: tuple[str, ...] = ()
    finding: Finding | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """In the words of the GKE modules' actions, so that one plan shows both."""
        return {"object": f"node pool {self.name}", "action": self.action, "fields": list(self.fields)}


def pool(name: str, spec: Json, labels: Json) -> dict[str, t.Any]:
    return {"apiVersion": API, "kind": KIND, "metadata": {"name": name, "labels": dict(labels)}, "spec": dict(spec)}


def decide(wanted: Json, live: Json | None) -> Decision:
    """Compare only what is wanted with what is there; the size of an autoscaled pool is not ours."""
    name = wanted["metadata"]["name"]
    if live is None:
        return Decision(name, "create")
    if live["metadata"].get("labels", {}).get(OWNER) != wanted["metadata"]["labels"].get(OWNER):
        return Decision(name, "refuse", (), foreign(name))
    found = differences(wanted["spec"], live.get("spec", {}))
    fixed = [text for key, text in found.items() if key in IMMUTABLE]
    if fixed:
        return Decision(name, "refuse", tuple(fixed), replace_required(name, fixed))
    return Decision(name, "update" if found else "none", tuple(found.values()))


def differences(want: Json, have: Json) -> dict[str, str]:
    found = {}
    for key, value in want.items():
        there = have.get(key)
        if key == "targetNodes" and have.get("autoscaling"):
            continue
        same = within(value, there or {}) if key in MAPS else value == there
        if not same:
            found[key] = f"{key}: {there} -> {value}"
    return found


def within(want: Json, have: Json) -> bool:
    return all(have.get(key) == value for key, value in want.items())


def replace_required(name: str, fields: t.Sequence[str]) -> Finding:
    return Finding(
        "NODE_POOL_REPLACE",
        "error",
        f"NodePool {name}",
        "cannot be changed in place: " + "; ".join(fields),
        "Undo the change of the input, name another pool, or remove this one with playbooks/teardown.yml.",
    )


def foreign(name: str) -> Finding:
    return Finding(
        "NODE_POOL_FOREIGN",
        "error",
        f"NodePool {name}",
        f"it exists without the label {OWNER}",
        "Choose another name with node_pools_gpu_pool_name or node_pools_cpu_pool_name, or set node_pools_create to "
        "false to use the pool as it is.",
    )


def input_findings(specs: t.Mapping[str, Json]) -> list[Finding]:
    """Rules of CoreWeave that its API tells one by one."""
    found = []
    for name, spec in specs.items():
        racks, nodes = spec.get("targetRacks"), spec.get("targetNodes")
        nvl72 = str(spec.get("instanceType", "")).startswith(("gb200", "gb300"))
        rules = (
            ((racks is None) == (nodes is None), "exactly one of targetNodes and targetRacks counts", "Set one."),
            (
                racks is not None and not nvl72,
                f"{spec.get('instanceType')} is not sold by the rack",
                "Use targetNodes.",
            ),
            (bool(spec.get("autoscaling")) and nvl72, "rack types are not autoscaled", "Leave autoscaling out."),
            (
                bool(spec.get("image")) and bool(spec.get("gpu")),
                "with an image, gpu.version is ignored",
                "Leave one of them out.",
            ),
        )
        found += [
            Finding("INPUT_COMBINATION", "error", f"NodePool {name}", seen, fix) for hit, seen, fix in rules if hit
        ]
    return found


def token_finding(message: str) -> Finding | None:
    """A bad or expired token shows as 403 at every request, also where everyone may ask."""
    text = " ".join(message.split())
    refused = any(f" {status} " in text for status in (401, 403))
    if not refused or not any(path in text for path in ("/version", "selfsubjectaccessreviews")):
        return None
    seen = text.partition(" seen: ")[2].partition(" fix: ")[0] or text
    return Finding(
        "CKS_TOKEN",
        "error",
        "wide_ep_kubeconfig",
        f"CoreWeave refuses even what everyone may ask: {seen}",
        "The token in the kubeconfig is wrong or expired: make a new one in the console (Tokens), download its "
        "kubeconfig, and set wide_ep_kubeconfig to it.",
    )


def removal(existing: t.Sequence[Json], wanted: t.Sequence[Json]) -> dict[str, t.Any]:
    """Our NodePools that are there: how to empty them, what to delete, and why one that is left is there.

    IdleOnly takes away the nodes on which nothing runs any more and waits for the others, so no pod is cut off.
    """
    names = {item["metadata"]["name"] for item in wanted}
    ours = [
        item
        for item in existing
        if item["metadata"]["name"] in names and OWNER in (item["metadata"].get("labels") or {})
    ]
    idle = {"targetNodes": 0, "autoscaling": False, "lifecycle": {"scaleDownStrategy": "IdleOnly"}}
    return {
        "idle": [_bare(item, spec=idle) for item in ours],
        "objects": [_bare(item) for item in ours],
        "actions": [
            {"object": f"node pool {item['metadata']['name']}", "action": "delete", "fields": []} for item in ours
        ],
        "left": [{"kind": KIND, "name": item["metadata"]["name"], "reason": _why(item)} for item in ours],
    }


def _bare(item: Json, **parts: t.Any) -> dict[str, t.Any]:
    return {"apiVersion": API, "kind": KIND, "metadata": {"name": item["metadata"]["name"]}, **parts}


def _why(item: Json) -> str:
    current = (item.get("status") or {}).get("currentNodes", 0)
    finalizers = ", ".join(item["metadata"].get("finalizers") or []) or "no finalizer"
    return f"{current} nodes are left, {finalizers}"
