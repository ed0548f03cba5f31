# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files and certificates a rehearsal cluster has. Private to the collection; it may change at any time."""

from __future__ import annotations

import typing as t

Data = dict[str, t.Any]

SYSTEM_USERS = {
    "controller-manager": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
    "kube-proxy": "system:kube-proxy",
    "coredns": "system:coredns",
    "kwok": "system:kwok",
}
#: Identities that people and playbooks use; neither is in system:masters.
USERS = {"deployer": "llmd-deployer", "platform": "llmd-platform"}
#: With the provider's parts: the program that plays them, and who plays the cloud's API, whose key signs access tokens.
PROVIDER_USERS = {"provider": "system:rehearsal-provider"}
CLOUD_USERS = {"cloud": "rehearsal-cloud"}
PROVIDER_LIBRARY = ("provider.py", "identity.py", "networks.py", "pools.py", "warden.py")
LIBRARY = ("init.py", "boot.py", "node_init.py", "wait_for.py", "steward.py")
#: What KWOK plays on nodes that are not there, a file each.
KWOK_STAGES = ("node-ready", "pod-runs", "pod-goes")


def certificates(topology: t.Mapping[str, t.Any], provider: bool = False) -> list[Data]:
    hosts = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
             "kubernetes.default.svc.cluster.local"]  # fmt: skip
    addresses = ["127.0.0.1", topology["api_service"], topology["address"]]
    result: list[Data] = [
        {"name": "apiserver", "common_name": "kube-apiserver", "addresses": addresses, "hosts": hosts},
        {"name": "admin", "common_name": "rehearsal-admin", "organization": "system:masters"},
        {"name": "steward", "common_name": "rehearsal-steward", "organization": "system:masters"},
        {"name": "front-proxy", "common_name": "front-proxy"},
        {"name": "kubelet-client", "common_name": "rehearsal-kubelet-client"},
    ]
    result += [{"name": name, "common_name": user} for name, user in {**SYSTEM_USERS, **USERS}.items()]
    if provider:
        result += [{"name": name, "common_name": user, "addresses": ["127.0.0.1"]}
                   for name, user in {**PROVIDER_USERS, **CLOUD_USERS}.items()]  # fmt: skip
    for node in topology["nodes"]:
        result.append({"name": node["name"], "common_name": f"system:node:{node['name']}",
                       "organization": "system:nodes", "addresses": [node["address"]],
                       "hosts": [node["name"]]})  # fmt: skip
    return result


def kubeconfigs(topology: t.Mapping[str, t.Any], state_dir: str, user_dir: str, provider: bool = False) -> list[Data]:
    folder = f"{state_dir}/cluster/etc"
    result: list[Data] = [{"path": f"{state_dir}/admin.kubeconfig", "certificate": "admin"}]
    result += [{"path": f"{folder}/{name}.kubeconfig", "certificate": name} for name in SYSTEM_USERS]
    result += [{"path": f"{folder}/nodes/{node['name']}/kubelet.kubeconfig", "certificate": node["name"]}
               for node in topology["nodes"]]  # fmt: skip
    users = [*USERS, *(CLOUD_USERS if provider else ())]
    result += [{"path": f"{user_dir}/{name}.kubeconfig", "certificate": name, "inherit_owner": True} for name in users]
    return result


def provider_files(config: Data, role_path: str) -> list[Data]:
    """What the provider's parts need."""
    library = f"{role_path}/files/provider"
    return [
        *({"path": f"lib/{name}", "copy": f"{library}/{name}"} for name in PROVIDER_LIBRARY),
        {"path": "etc/provider.json", "data": config},
        {"path": "etc/authentication.yaml", "template": f"{role_path}/templates/authentication.yaml.j2"},
    ]


def files(topology: Data, desired: Data, role_path: str, provider: Data | None = None) -> list[Data]:
    """The supervisor's configuration comes last, since it holds digests of the others."""
    templates, library = f"{role_path}/templates", f"{role_path}/files/sandbox"

    def rendered(path: str, template: str, **extra: t.Any) -> Data:
        return {"path": path, "template": f"{templates}/{template}.j2", "variables": extra}

    result: list[Data] = [{"path": f"lib/{name}", "copy": f"{library}/{name}"} for name in LIBRARY]
    result += [
        {"path": "etc/topology.json", "data": topology},
        {"path": "etc/desired.json", "data": desired},
        *({"path": f"etc/kwok/{name}.yaml", "copy": f"{role_path}/files/kwok/{name}.yaml"} for name in KWOK_STAGES),
        rendered("etc/Corefile", "Corefile"),
        rendered("etc/audit-policy.yaml", "audit-policy.yaml"),
        rendered("etc/resolv.conf", "resolv.conf"),
        rendered("etc/registry/_default/hosts.toml", "hosts.toml"),
        rendered(f"etc/registry/{topology['address']}:5000/hosts.toml", "hosts.toml"),
    ]
    if provider is not None:
        result += provider_files(provider, role_path)
    for node in topology["nodes"]:
        folder = f"etc/nodes/{node['name']}"
        result += [
            rendered(f"{folder}/containerd.toml", "containerd.toml", node=node),
            rendered(f"{folder}/kubelet.yaml", "kubelet.yaml", node=node),
            rendered(f"{folder}/cni/10-bridge.conflist", "cni.conflist", node=node),
        ]
    return [*result, rendered("etc/supervisord.conf", "supervisord.conf")]
