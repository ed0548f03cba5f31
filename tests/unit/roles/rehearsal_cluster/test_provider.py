# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider's parts decide: admission, conditions of networks, nodes of pools, keys of the identity service."""

from __future__ import annotations

import base64
import datetime
import json
import sys
import types
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from loading import load_file

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_pki as pki
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _rehearsal_render as render
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _rehearsal_topology as topology

from ..._collection import ROOT

ROLE = ROOT / "roles" / "rehearsal_cluster"
PROVIDER = ROLE / "files" / "provider"
OVERLAY = yaml.safe_load((ROOT / "roles/model_server/files/layers/overlay_gke.yml").read_text())["common"]
INTERFACES = "networking.gke.io/interfaces"


def load(name: str) -> types.ModuleType:
    return load_file(PROVIDER / f"{name}.py", f"provider_{name}")


warden, networks, pools, identity = (load(name) for name in ("warden", "networks", "pools", "identity"))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The program itself, which finds its parts beside it."""
    parts = {"warden": warden, "networks": networks, "pools": pools, "identity": identity}
    parts["steward"] = load_file(ROLE / "files/sandbox/steward.py", "rehearsal_steward")
    for name, part in parts.items():
        monkeypatch.setitem(sys.modules, name, part)
    return load("provider")


Json = dict[str, t.Any]


# Admission


def pod(resources: Json | None = None, *, interfaces: str = "") -> Json:
    container: Json = {"name": "vllm"} | ({"resources": resources} if resources is not None else {})
    return {
        "metadata": {"annotations": {INTERFACES: interfaces}},
        "spec": {"containers": [container, {"name": "other"}]},
    }


def asking(*names: str, resources: Json | None = None) -> Json:
    return pod(resources, interfaces=json.dumps([{"interfaceName": "eth0", "network": name} for name in names]))


def patched(subject: Json) -> Json:
    """The resources after the patch."""
    patch = warden.patch_of(subject)
    found: Json = subject["spec"]["containers"][0].get("resources", {})
    assert [item["path"] for item in patch] in ([], ["/spec/containers/0/resources"])
    return patch[0]["value"] if patch else found


def test_both_names_of_each_network_are_added() -> None:
    resources = patched(asking("default", "rdma-0", "rdma-1"))
    names = {f"networking.gke.io.networks/rdma-{n}{suffix}" for n in (0, 1) for suffix in ("", ".IP")}
    assert resources == {part: dict.fromkeys(names, "1") for part in ("limits", "requests")}


def test_a_limit_of_zero_keeps_a_name_from_being_added() -> None:
    zero = {"networking.gke.io.networks/rdma-0": "0", "nvidia.com/gpu": "8"}
    resources = patched(asking("rdma-0", resources={"limits": zero, "requests": {"cpu": "1"}}))
    assert resources["limits"] == {**zero, "networking.gke.io.networks/rdma-0.IP": "1"}
    assert resources["requests"] == {"cpu": "1", "networking.gke.io.networks/rdma-0.IP": "1"}


def test_the_overlay_asks_for_what_nodes_have() -> None:
    """The guide's pod after Warden: no name without .IP is more than zero."""
    subject = pod(OVERLAY["container"]["resources"], interfaces=OVERLAY["pod"]["metadata"]["annotations"][INTERFACES])
    requests = patched(subject)["requests"]
    asked = {name for name, count in requests.items() if name.startswith(warden.RESOURCE) and count != "0"}
    assert asked == {f"networking.gke.io.networks/rdma-{n}.IP" for n in range(8)}


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (asking("rdma-9"), "'rdma-9' that the pod asks for does not exist"),
        (pod(interfaces="{"), "JSONDecodeError"),
        (pod(interfaces='[{"interfaceName": "eth0"}]'), "KeyError"),
        (pod(interfaces='["eth0"]'), "TypeError"),
    ],
)
def test_refused_pods(subject: Json, text: str) -> None:
    refusal, patch = warden.decide(subject, {"rdma-0"}.__contains__)
    assert text in refusal
    assert patch == []


@pytest.mark.parametrize("subject", [{"metadata": {}, "spec": {"containers": [{}]}}, asking("default"), asking()])
def test_pods_that_ask_for_no_network(subject: Json) -> None:
    assert warden.decide(subject, set().__contains__) == ("", [])


@given(st.sets(st.sampled_from([f"rdma-{n}" for n in range(8)])))
def test_a_second_admission_adds_nothing(names: set[str]) -> None:
    subject = asking(*sorted(names))
    subject["spec"]["containers"][0]["resources"] = patched(subject)
    assert warden.patch_of(subject) == []


# Networks

CLOUD = networks.Cloud({"sub-0": "net-0", "sub-1": "net-1", "rdma-0": "rdma", "rdma-1": "rdma"}, "net-0")


def params(name: str = "a", subnet: str = "sub-1", mode: str = "NetDevice", age: int = 0, **more: t.Any) -> Json:
    spec = {"vpc": CLOUD.subnetworks.get(subnet, "net-1"), "vpcSubnet": subnet} | ({"deviceMode": mode} if mode else {})
    stamp = f"2026-01-01T00:00:{59 - age:02d}Z"
    return {"metadata": {"name": name, "creationTimestamp": stamp}, "spec": {**spec, **more}}


@pytest.mark.parametrize(
    ("item", "others", "reason"),
    [
        (params(), [], "GNPReady"),
        (params(vpc="projects/demo/global/networks/net-1"), [], "GNPReady"),
        (params(vpc="net-9"), [], "VPCNotFound"),
        (params(subnet="sub-9"), [], "SubnetNotFound"),
        (params(subnet="sub-1", vpc="net-0"), [], "SubnetNotFound"),
        (params(mode=""), [], "SecondaryRangeAndDeviceModeUnspecified"),
        (params(mode="", podIPv4Ranges={"rangeNames": ["x"]}), [], "GNPReady"),
        (params(podIPv4Ranges={"rangeNames": ["x"]}), [], "DeviceModeCantBeUsedWithSecondaryRange"),
        (params(subnet="sub-0"), [], "DeviceModeCantUseDefaultVPC"),
        (params(), [params("b", age=5)], "DeviceModeSubnetAlreadyInUse"),
        (params(age=5), [params("b")], "GNPReady"),
        (params(), [params("b", vpcSubnet="other", age=5)], "DeviceModeVPCAlreadyInUse"),
        # Eight RDMA subnets share their VPC.
        (params(subnet="rdma-0", mode="RDMA"), [params("b", "rdma-1", "RDMA", 5)], "GNPReady"),
        (params(subnet="rdma-0", mode="RDMA"), [params("b", "rdma-1", "NetDevice", 5)], "DeviceModeVPCAlreadyInUse"),
    ],
)
def test_param_sets(item: Json, others: list[Json], reason: str) -> None:
    good, seen, message = networks.judge_params(item, [item, *others], CLOUD)
    assert (seen, good, bool(message)) == (reason, reason == "GNPReady", reason != "GNPReady")


def test_without_a_cloud_nothing_is_looked_up() -> None:
    assert networks.judge_params(params(vpc="net-9"), [], None)[1] == "GNPReady"


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({**params(), "status": READY}, "GNPParamsReady"),
        (params(), "GNPParamsNotReady"),
        (None, "GNPDeleted"),
        ({**params(), "metadata": {"name": "a", "deletionTimestamp": "x"}, "status": READY}, "GNPDeleted"),
        ({**params(mode=""), "status": READY}, "DeviceModeMissing"),
    ],
)
def test_networks(found: Json | None, reason: str) -> None:
    network = {"metadata": {"name": "rdma-0"}, "spec": {"type": "Device", "parametersRef": {"name": "a"}}}
    good, seen, _message = networks.judge_network(network, found)
    assert (seen, good) == (reason, reason == "GNPParamsReady")


def test_a_param_set_stays_while_a_network_refers_to_it() -> None:
    item = params()
    users = networks.users_of(item, [{"metadata": {"name": "n"}, "spec": {"parametersRef": {"name": "a"}}}])
    item["metadata"]["finalizers"] = ["other"]
    assert networks.finalizers(item, users) == ["other", networks.FINALIZER]
    item["metadata"] |= {"deletionTimestamp": "x", "finalizers": networks.finalizers(item, users)}
    assert networks.finalizers(item, users) == ["other", networks.FINALIZER]
    assert networks.finalizers(item, []) == ["other"]


def test_the_time_of_a_condition_is_that_of_its_status() -> None:
    first = networks.conditions([], {"Ready": (False, "A", "x")}, 1, "t1")
    second = networks.conditions(first, {"Ready": (False, "B", "y")}, 1, "t2")
    third = networks.conditions(second, {"Ready": (True, "C", "")}, 2, "t3")
    assert [item[0]["lastTransitionTime"] for item in (first, second, third)] == ["t1", "t1", "t3"]
    assert third[0]["observedGeneration"] == 2


# Node pools

NODES = [{"name": "cpu-0", "kind": "cpu"}, *({"name": f"gpu-{n}", "kind": "gpu"} for n in range(4))]


def pool(count: int, name: str = "gpu", kind: str = "gpu", **more: t.Any) -> Json:
    return {"name": name, "kind": kind, "count": count, **more}


@pytest.mark.parametrize(
    ("wanted", "current", "nodes"),
    [
        ([], {}, []),
        ([pool(2), pool(1, "cpu", "cpu")], {}, ["cpu-0", "gpu-0", "gpu-1"]),
        ([pool(9)], {}, ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]),
        ([pool(2)], {"gpu-2": "gpu", "gpu-3": "gpu"}, ["gpu-2", "gpu-3"]),
        ([pool(1, busy=["gpu-3"])], {"gpu-2": "gpu", "gpu-3": "gpu"}, ["gpu-3"]),
        ([pool(0, busy=["gpu-3"], interrupt=False)], {"gpu-2": "gpu", "gpu-3": "gpu"}, ["gpu-3"]),
        ([pool(0, busy=["gpu-3"], interrupt=True)], {"gpu-2": "gpu", "gpu-3": "gpu"}, []),
        ([pool(3, "a"), pool(3, "b")], {}, ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]),
        # The first pool grows, and takes no node of the second.
        ([pool(4, "a"), pool(2, "b")], {"gpu-0": "b", "gpu-1": "b"}, ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]),
    ],
)
def test_nodes_of_pools(wanted: list[Json], current: dict[str, str], nodes: list[str]) -> None:
    members = pools.assign(NODES, wanted, current)
    assert sorted(members) == nodes
    assert all(members[node].pool == name for node, name in current.items() if node in members)


def node_pool(target: int = 4, **spec: t.Any) -> Json:
    return {"metadata": {"name": "gpu"}, "spec": {"instanceType": "gd-8xh200ib-i128", "targetNodes": target, **spec}}


@pytest.mark.parametrize(
    ("item", "given_nodes", "ready", "shown"),
    [
        (node_pool(), 4, 4, {"Validated": "Valid", "Quota": "Under", "Capacity": "Sufficient", "AtTarget": "AtTarget"}),
        (node_pool(), 4, 2, {"Validated": "Valid", "Quota": "Under", "Capacity": "Sufficient", "AtTarget": "Scaling"}),
        (
            node_pool(6),
            4,
            4,
            {"Validated": "Valid", "Quota": "Under", "Capacity": "QueuedAwaitingCapacity", "AtTarget": "Scaling"},
        ),
        (node_pool(instanceType="gd-16xh900"), 0, 0, {"Validated": "Valid"}),
        (node_pool(instanceType="p5.48xlarge"), 0, 0, {"Validated": "Invalid"}),
    ],
)
def test_conditions_of_a_node_pool(item: Json, given_nodes: int, ready: int, shown: dict[str, str]) -> None:
    verdicts = pools.verdicts(item, given_nodes, ready)
    assert shown.items() <= {kind: reason for kind, (_good, reason, _message) in verdicts.items()}.items()
    bad = {"Invalid", "QueuedAwaitingCapacity", "Scaling"}
    assert {kind for kind, verdict in verdicts.items() if not verdict[0]} == {
        kind for kind, verdict in verdicts.items() if verdict[1] in bad
    }
    assert sum(pools.numbers(item, given_nodes, ready).values()) == max(item["spec"]["targetNodes"], given_nodes)


@pytest.mark.parametrize(
    ("item", "count"),
    [(node_pool(), 4), ({**node_pool(), "metadata": {"name": "gpu", "deletionTimestamp": "x"}}, 0)],
)
def test_a_pool_that_is_deleted_gives_its_nodes_back(item: Json, count: int) -> None:
    assert pools.pool_of(item, [])["count"] == count


def test_an_instance_type_that_is_not_sold_gets_no_nodes() -> None:
    assert pools.pool_of(node_pool(instanceType="p5.48xlarge"), []) is None


class Calls:
    """An API server and a supervisor that keep what they are told."""

    def __init__(self, running: set[str], objects: dict[str, Json] | None = None) -> None:
        self.up = set(running)
        self.objects = objects or {}
        self.told: list[tuple[str, str]] = []

    def call(self, verb: str, path: str, body: Json | None = None, _kind: str = "") -> Json:
        self.told.append((verb, path))
        if verb == "GET":
            return self.objects[path]
        return body or {}

    def running(self) -> set[str]:
        return set(self.up)

    def start(self, node: str) -> None:
        self.told.append(("start", node))

    def stop(self, node: str) -> None:
        self.told.append(("stop", node))


def provider_of(program: types.ModuleType, calls: Calls, profile: str = "gke") -> t.Any:
    made = program.Provider.__new__(program.Provider)
    made.api = made.kubelets = calls
    made.profile, made.nodes, made.applied = profile, [{**node, "pool": node["kind"]} for node in NODES], True
    return made


def registered(pool_name: str = "") -> Json:
    labels = {pools.LABELS["gke"]: pool_name} if pool_name else {}
    return {"metadata": {"name": "gpu-0", "labels": labels, "resourceVersion": "1"}, "spec": {}}


@pytest.mark.parametrize(
    ("wanted", "running", "nodes", "told"),
    [
        ([pool(1)], set(), {}, [("start", "gpu-0")]),
        ([pool(1)], {"gpu-0"}, {}, []),
        ([pool(1)], {"gpu-0"}, {"gpu-0": registered()}, [("PATCH", "/api/v1/nodes/gpu-0")]),
        ([pool(1)], {"gpu-0"}, {"gpu-0": registered("gpu")}, []),
        ([], {"gpu-0"}, {"gpu-0": registered("gpu")}, [("stop", "gpu-0"), ("DELETE", "/api/v1/nodes/gpu-0")]),
    ],
)
def test_kubelets_follow_the_pools(
    program: types.ModuleType, wanted: list[Json], running: set[str], nodes: dict[str, Json], told: list[t.Any]
) -> None:
    calls = Calls(running)
    provider_of(program, calls).reconcile_nodes(wanted, nodes)
    assert calls.told == told


def test_without_a_cloud_every_node_is_there(program: types.ModuleType) -> None:
    made = provider_of(program, Calls(set()))
    assert sorted(pools.assign(made.nodes, made.pools_of(None), {})) == sorted(node["name"] for node in NODES)
    assert made.pools_of({}) == []


def test_a_status_is_written_when_it_changes(program: types.ModuleType) -> None:
    calls = Calls(set())
    made = provider_of(program, calls)
    item = {"metadata": {"name": "a", "generation": 1}}
    item["status"] = made.keep_status("/x", item, {"Ready": (True, "A", "")}, {})
    made.keep_status("/x", item, {"Ready": (True, "A", "")}, {})
    assert calls.told == [("PATCH", "/x/status")]


def test_only_pods_that_ask_for_networks_wait_for_admission(program: types.ModuleType) -> None:
    hook = program.webhook(b"pem")["webhooks"][0]
    assert INTERFACES in hook["matchConditions"][0]["expression"]
    assert hook["rules"][0]["operations"] == ["CREATE"]
    assert base64.b64decode(hook["clientConfig"]["caBundle"]) == b"pem"
    assert hook["clientConfig"]["url"].startswith("https://127.0.0.1:")
    assert identity.ISSUER.startswith(f"https://{program.ADDRESS[0]}:{program.ADDRESS[1]}/")


# Identity, and what the role makes of all this


def test_the_key_in_a_certificate_is_the_one_that_signed() -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = pki.make_ca("ca", now)
    leaf = pki.make_leaf(pki.Request("cloud", "rehearsal-cloud"), authority, now)
    answers = identity.documents(leaf.certificate_pem().decode())
    key = answers[identity.KEYS]["keys"][0]
    public = leaf.key.public_key().public_numbers()
    for coordinate, number in (("x", public.x), ("y", public.y)):
        assert base64.urlsafe_b64decode(key[coordinate] + "==") == number.to_bytes(32, "big")
    assert answers[identity.DISCOVERY]["jwks_uri"] == "https://127.0.0.1:9444/identity/keys"


def make(profile: str) -> Json:
    content = yaml.safe_load((ROLE / f"vars/{profile}.yml").read_text())["_rehearsal_cluster_profile"]
    return topology.topology("local", "10.201.0.0/30", content)


@pytest.mark.parametrize("profile", ["gke", "gke_a4", "coreweave"])
def test_the_label_of_the_pool_is_left_to_the_pool(profile: str) -> None:
    cluster = make(profile)
    config = topology.provider_config(cluster, profile)
    assert config["profile"] == profile.partition("_")[0]
    assert [node["kind"] for node in config["nodes"]] == ["cpu", *["gpu"] * 4]
    assert all(node["pool"] for node in config["nodes"])
    assert not any(pools.LABELS[config["profile"]] in node["labels"] for node in cluster["nodes"])


def test_everything_that_the_program_imports_is_there() -> None:
    files = render.provider_files({}, str(ROLE))
    names = {item["path"].removeprefix("lib/") for item in files if item["path"].startswith("lib/")}
    assert names == {path.name for path in PROVIDER.glob("*.py")}
    command = (ROLE / "templates/supervisord.conf.j2").read_text()
    assert all(f"'lib/{name}'" in command for name in names)


def test_one_issuer() -> None:
    """The API server, the program that it asks and the one that signs name the same."""
    configuration = (ROLE / "templates/authentication.yaml.j2").read_text()
    assert f"url: {identity.ISSUER}\n" in configuration
    assert f'ISSUER = "{identity.ISSUER}"' in (ROOT / "tests/integration/gke/gke_standin/identity.py").read_text()


@pytest.mark.parametrize("name", ["gke", "coreweave", "access"])
def test_objects_of_the_provider_have_a_path(name: str) -> None:
    items = yaml.safe_load((PROVIDER / f"{name}.yml").read_text())["items"]
    assert all(topology.object_path(item).endswith(item["metadata"]["name"]) for item in items)


def test_the_parts_leave_nothing_behind_that_stops_pods() -> None:
    provider = (PROVIDER / "provider.py").read_text()
    assert f'WARDEN = "{topology.WARDEN.rpartition("/")[2]}"' in provider
    assert topology.desired(make("gke"), [], (topology.WARDEN,))["absent"] == [topology.WARDEN]
