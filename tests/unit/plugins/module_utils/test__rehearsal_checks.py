# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a machine can carry a rehearsal cluster, and which addresses it gets."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_checks as checks

HOST = checks.Host(
    system="Linux",
    root=True,
    sudo=False,
    memory_gib=20,
    disk_gib=100,
    disk_path="/var/lib",
    kernel=dict.fromkeys(checks.KERNEL_OPTIONS, True),
    commands=dict.fromkeys(checks.HOST_COMMANDS, True),
    routes=(),
    running=False,
    state_exists=False,
    watchers_used=10,
    watchers_needed=50,
    watchers_limit=128,
)
LIMITS = checks.Limits(6, 25)
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
lwe-local\t0000C90A\t00000000\t0001\t0\t0\t0\tFCFFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({}, []),
        ({"system": "Darwin"}, ["REHEARSAL_PLATFORM"]),
        ({"root": False}, ["REHEARSAL_PRIVILEGE"]),
        ({"root": False, "sudo": True}, []),
        ({"memory_gib": 5.9}, ["REHEARSAL_MEMORY"]),
        ({"memory_gib": 5.9, "running": True}, []),
        ({"disk_gib": 24.9}, ["REHEARSAL_DISK"]),
        ({"disk_gib": 24.9, "state_exists": True}, []),
        ({"watchers_used": 79}, ["REHEARSAL_LIMIT"]),
        ({"watchers_used": 78}, []),
        ({"kernel": {"CONFIG_VETH": False, "CONFIG_BRIDGE": None}}, ["REHEARSAL_KERNEL"]),
        ({"commands": {"unshare": False}}, ["REHEARSAL_KERNEL"]),
        (
            {"memory_gib": 1, "disk_gib": 1, "root": False},
            ["REHEARSAL_PRIVILEGE", "REHEARSAL_MEMORY", "REHEARSAL_DISK"],
        ),
    ],
)
def test_check_host(change: dict[str, t.Any], codes: list[str]) -> None:
    assert [finding.code for finding in checks.check_host(dataclasses.replace(HOST, **change), LIMITS)] == codes


GOOD_NAMES = ("local", "a", "a-b", "elevenchars")
BAD_NAMES = ("twelve-chars", "Upper", "1st", "end-", "", "a_b", "a.b")


@pytest.mark.parametrize(
    ("name", "good"), [*((name, True) for name in GOOD_NAMES), *((name, False) for name in BAD_NAMES)]
)
def test_check_name(name: str, good: bool) -> None:
    assert (checks.check_name(name) == []) is good


def manifest(**change: t.Any) -> dict[str, t.Any]:
    programs = {name: {"path": f"/bin/{name}", "sha256": "0"} for name in checks.PROGRAMS}
    content = {"schema": 1, "programs": programs, "rootfs": {"path": "/rootfs.tar"}, "registry": {"path": "/images"},
               "images": {"registry.k8s.io/pause:3.10": "sha256:0"}}  # fmt: skip
    return {**content, **change}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (manifest(), ""),
        (None, "does not exist"),
        ("Expecting value", "cannot be read"),
        (manifest(schema=2), "schema is 2"),
        (manifest(programs={}), "does not list coredns, etcd"),
        (manifest(images={}), "no image named pause"),
        (manifest(rootfs={"path": "/gone"}), "/gone does not exist"),
    ],
)
def test_check_manifest(content: t.Any, words: str) -> None:
    findings = checks.check_manifest(content, "/m.json", lambda path: path != "/gone")
    assert [words in finding.evidence for finding in findings] == ([True] if words else [])


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        ("/cache/manifests/standalone.json", "run `make binaries`"),
        ("/cache/manifests/full.json", "run `make binaries SCENARIO=full`"),
        ("/elsewhere/mine.json", "run `make binaries`"),
    ],
)
def test_missing_programs_are_built_by_the_scenario_they_belong_to(path: str, fix: str) -> None:
    assert checks.check_manifest(None, path, lambda _path: True)[0].fix == fix


def test_parse_routes() -> None:
    networks = {(route.interface, str(route.network)) for route in checks.parse_routes(ROUTES)}
    assert networks == {("eth0", "0.0.0.0/0"), ("eth0", "192.0.2.0/24"), ("lwe-local", "10.201.0.0/30")}


def test_parse_memory() -> None:
    assert checks.parse_memory_gib("MemTotal: 1 kB\nMemAvailable:   6291456 kB\n") == 6


def choose(
    name: str, wanted: str = "", recorded: dict[str, str] | None = None, routes: str = ROUTES
) -> tuple[str, bool]:
    subnet, findings = checks.choose_subnet(name, wanted, "10.201.0.0/16", recorded or {}, checks.parse_routes(routes))
    return subnet, not findings


@pytest.mark.parametrize(
    ("name", "wanted", "recorded", "expected"),
    [
        ("local", "", {}, ("10.201.0.0/30", True)),
        ("other", "10.201.0.0/30", {}, ("10.201.0.0/30", False)),
        ("other", "10.201.9.0/30", {}, ("10.201.9.0/30", True)),
        ("other", "10.201.9.0/30", {"third": "10.201.9.0/30"}, ("10.201.9.0/30", False)),
        ("other", "", {"other": "10.201.7.4/30"}, ("10.201.7.4/30", True)),
    ],
)
def test_choose_subnet(name: str, wanted: str, recorded: dict[str, str], expected: tuple[str, bool]) -> None:
    assert choose(name, wanted, recorded) == expected


def test_a_recorded_subnet_that_the_host_uses_by_now_is_given_up() -> None:
    assert choose("other", recorded={"other": "10.201.0.0/30"})[0] != "10.201.0.0/30"


def test_a_wider_route_of_the_host_is_refused() -> None:
    wide = ROUTES + "vpn0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
    assert choose("local", routes=wide) == ("10.201.0.0/30", False)


# The clock of a busy machine says nothing about the arithmetic.
@settings(deadline=None)
@given(st.lists(st.from_regex(checks.NAME, fullmatch=True), unique=True, max_size=8))
def test_clusters_never_share_addresses(names: list[str]) -> None:
    recorded: dict[str, str] = {}
    for name in names:
        recorded[name], free = choose(name, recorded=dict(recorded), routes="")
        assert free
    networks = [ipaddress.ip_network(subnet) for subnet in recorded.values()]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[i + 1 :])
