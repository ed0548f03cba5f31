# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _rehearsal_render as render
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._rehearsal_topology import (
    WARDEN,
    TopologyError,
    desired,
    provider_config,
    topology,
)

Data = t.Mapping[str, t.Any]


def rehearsal_plan(
    profile: Data,
    name: str,
    subnet: str,
    *,
    objects: t.Sequence[Data],
    role_path: str,
    state_dir: str,
    user_dir: str,
    parameters: dict[str, t.Any],
    gpu_nodes: int = 4,
    fabric: str = "full_mesh",
    faults: t.Sequence[Data] = (),
    provider: str = "",
) -> dict[str, t.Any]:
    try:
        cluster = topology(name, subnet, profile, gpu_nodes=gpu_nodes, fabric=fabric, faults=faults)
        parts = provider_config(cluster, provider) if provider else None
        wanted = desired(cluster, objects, () if provider else (WARDEN,))
    except TopologyError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        "topology": cluster,
        "server": f"https://{cluster['address']}:6443",
        "registry": f"{cluster['address']}:5000",
        "certificates": render.certificates(cluster, bool(provider)),
        "kubeconfigs": render.kubeconfigs(cluster, state_dir, user_dir, bool(provider)),
        "files": render.files(cluster, wanted, role_path, parts),
        "variables": {"topology": cluster, "provider": bool(provider), **parameters},
    }


class FilterModule:
    """Data of the rehearsal cluster."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rehearsal_plan": rehearsal_plan}
