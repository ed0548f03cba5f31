# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment consists of, computed from the inputs. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import typing as t

#: DeepSeek-R1 routes over this many experts in every MoE layer (config.json: n_routed_experts).
ROUTED_EXPERTS = 256
#: The first port of the pool. In hybrid mode one API server per pod balances its ranks; in multi-port mode each rank
#: is an endpoint (llm-d #1855: a mix of both fails 7 of 8 requests).
FIRST_TARGET_PORT = 8000
TIERS = ("prefill", "decode")


@dataclasses.dataclass(frozen=True)
class Tier:
    """Prefill or decode: ``groups`` replicas of ``hosts_per_group`` pods with ``ranks_per_host`` GPUs each."""

    role: str
    lws_name: str
    groups: int
    hosts_per_group: int
    ranks_per_host: int
    redundant_experts: int
    all2all_backend: str

    @property
    def pods(self) -> tuple[str, ...]:
        """Pod names as the LeaderWorkerSet controller builds them: leader ``<set>-<group>``, worker ``…-<index>``."""
        return tuple(
            f"{self.lws_name}-{group}" if host == 0 else f"{self.lws_name}-{group}-{host}"
            for group in range(self.groups)
            for host in range(self.hosts_per_group)
        )

    @property
    def dp_size(self) -> int:
        """Data-parallel (and so expert-parallel, TP is 1) ranks of one group."""
        return self.hosts_per_group * self.ranks_per_host

    @property
    def gpus(self) -> int:
        return self.groups * self.dp_size

    @property
    def experts(self) -> int:
        return ROUTED_EXPERTS + self.redundant_experts

    def as_dict(self) -> dict[str, t.Any]:
        derived = {
            "pods": list(self.pods),
            "dp_size": self.dp_size,
            "gpus": self.gpus,
            "nodes": self.groups * self.hosts_per_group,
            "experts_per_rank": self.experts // self.dp_size,
        }
        return {**dataclasses.asdict(self), **derived}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The whole deployment. Feeds rendering, quotas, checks, verification and reports."""

    release: str
    namespace: str
    model: str
    overlay: str
    components: tuple[str, ...]
    load_balancing: str
    router_mode: str
    gateway_provider: str
    prefill: Tier
    decode: Tier

    @property
    def gpus(self) -> int:
        return self.prefill.gpus + self.decode.gpus

    @property
    def target_ports(self) -> tuple[int, ...]:
        ranks = self.decode.ranks_per_host if self.load_balancing == "multi_port" else 1
        return tuple(range(FIRST_TARGET_PORT, FIRST_TARGET_PORT + ranks))

    def as_dict(self) -> dict[str, t.Any]:
        return {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "components": list(self.components),
            "prefill": self.prefill.as_dict(),
            "decode": self.decode.as_dict(),
            "gpus": self.gpus,
            "nodes": len(self.prefill.pods) + len(self.decode.pods),
            "target_ports": list(self.target_ports),
            "labels": {"wide-ep.llm-d.ai/deployment": self.release},
        }


def build_plan(inputs: t.Mapping[str, t.Any]) -> Plan:
    """Build the plan from the shared inputs, keyed without their ``wide_ep_`` prefix."""

    def tier(role: str) -> Tier:
        return Tier(
            role=role,
            lws_name=f"{inputs['release']}-nvidia-gpu-vllm-{role}",
            groups=int(inputs[f"{role}_groups"]),
            hosts_per_group=int(inputs[f"{role}_hosts_per_group"]),
            ranks_per_host=int(inputs[f"{role}_ranks_per_host"]),
            redundant_experts=int(inputs["redundant_experts"]),
            all2all_backend=str(inputs[f"{role}_all2all_backend"]),
        )

    return Plan(
        release=str(inputs["release"]),
        namespace=str(inputs["namespace"]),
        model=str(inputs["model"]),
        overlay=str(inputs["overlay"]),
        components=tuple(inputs["components"]),
        load_balancing=str(inputs["load_balancing"]),
        router_mode=str(inputs["router_mode"]),
        gateway_provider=str(inputs["gateway_provider"]),
        prefill=tier("prefill"),
        decode=tier("decode"),
    )
