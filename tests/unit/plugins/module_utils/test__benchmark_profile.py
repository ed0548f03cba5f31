# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import re
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_native import load_of_config
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_profile import (
    GUIDE,
    REHEARSAL,
    Profile,
    ProfileError,
    Target,
    config,
    named,
    profile_findings,
    sweep,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import Reader

TARGET = Target("m", "http://10.0.0.1:80", "tokenizer", "results", "0.7.0")


def at(release: str) -> Target:
    return dataclasses.replace(TARGET, release=release)


@pytest.mark.parametrize("release", ["0.4.0", "0.6.1", "0.7.0"])
def test_a_configuration_asks_for_what_the_profile_says(release: str) -> None:
    reader = Reader("config")
    load = load_of_config(reader, config(GUIDE, at(release)), 0)
    assert reader.findings == []
    assert (load.concurrency, load.requests, load.input_tokens, load.output_tokens) == (2048, 8192, 2000, 2000)
    assert (load.model, load.load_type, load.data_type, load.streaming) == ("m", "concurrent", "random", True)
    assert load.token_side == ("client" if release == "0.4.0" else "server")


@pytest.mark.parametrize(
    ("release", "path", "known"),
    [
        ("0.4.0", "load.base_seed", False),
        ("0.5.0", "load.base_seed", True),
        ("0.4.0", "data.input_distribution.type", False),
        ("0.5.0", "data.input_distribution.type", True),
        ("0.4.0", "report.goodput", False),
        ("0.6.1", "report.goodput", True),
        ("0.6.0", "report.request_lifecycle.use_server_output_tokens", False),
        ("0.6.1", "report.request_lifecycle.use_server_output_tokens", True),
        ("v0.6.1", "report.request_lifecycle.per_request_fields", False),
        ("0.7.0", "report.request_lifecycle.per_request_fields", True),
        ("0.6.1", "tokenizer.load_timeout", False),
        ("0.7.0", "tokenizer.load_timeout", True),
        ("0.4.0", "load.request_timeout", True),
    ],
)
def test_nothing_is_written_that_a_release_does_not_know(release: str, path: str, known: bool) -> None:
    place: t.Any = config(dataclasses.replace(GUIDE, per_request=True), at(release))
    for name in path.split("."):
        place = place.get(name, {})
    assert bool(place) == known


def test_workers_share_the_requests_evenly() -> None:
    assert (GUIDE.workers, REHEARSAL.workers, Profile("p", 6, 12, 1, 1).workers, Profile("p", 7, 7, 1, 1).workers) == (
        16,
        2,
        2,
        1,
    )


def test_a_sweep_keeps_lengths_and_waves() -> None:
    profiles = sweep(16)
    assert [profile.concurrency for profile in profiles] == [512, 1024, 1536, 2048, 2560, 3072, 3584, 4096]
    assert {(profile.waves, profile.input_tokens) for profile in profiles} == {(4, 2000)}
    assert len({profile.name for profile in profiles}) == 8


@pytest.mark.parametrize("profile", [GUIDE, REHEARSAL, *sweep(16)], ids=lambda profile: profile.name)
def test_our_profiles_are_fine(profile: Profile) -> None:
    assert profile_findings(profile, TARGET, deadline=3600, seconds=742) == []


@pytest.mark.parametrize(
    ("profile", "target", "severity", "evidence"),
    [
        ({}, {"base_url": "http://10.0.0.1:80/v1"}, "error", "found 'http://10.0.0.1:80/v1'"),
        ({}, {"base_url": "http://10.0.0.1:80/"}, "error", "found 'http://10.0.0.1:80/'"),
        ({}, {"base_url": "10.0.0.1:80"}, "error", "found '10.0.0.1:80'"),
        ({}, {"release": "latest"}, "error", "found 'latest'"),
        ({"streaming": False}, {}, "error", "tpot, ttft have limits"),
        ({"per_request": True}, {"release": "0.6.1"}, "error", "16.4 million output tokens"),
        ({}, {"release": "0.4.0"}, "warning", "release 0.4.0 counts output tokens anew"),
        ({"requests": 1024}, {}, "warning", "1024 requests at 2048 at once"),
        ({"requests": 4096}, {}, "warning", "4096 requests at 2048 at once"),
        ({"request_timeout": None}, {}, "warning", "request_timeout is not set"),
    ],
)
def test_what_is_wrong_is_said_before_the_load(
    profile: dict[str, t.Any], target: dict[str, str], severity: str, evidence: str
) -> None:
    changed = dataclasses.replace(GUIDE, **profile), dataclasses.replace(TARGET, **target)
    found = profile_findings(*changed, deadline=3600)
    assert [(finding.severity, finding.code) for finding in found] == [(severity, "BENCHMARK_PROFILE")]
    assert evidence in found[0].evidence


@pytest.mark.parametrize(("deadline", "expected"), [(600.0, 1), (3600.0, 0), (0.0, 0)])
def test_a_deadline_below_the_expected_time_is_told(deadline: float, expected: int) -> None:
    assert len(profile_findings(GUIDE, TARGET, deadline, seconds=742)) == expected


CUSTOM: dict[str, t.Any] = {"concurrency": 4, "requests": 16, "input_tokens": 10, "output_tokens": 20}


def test_workloads_are_found_by_name_once_each_in_order() -> None:
    found = named(["mine", "rehearsal", "sweep", "mine"], 16, {"mine": CUSTOM})
    names = [profile.name for profile in found]
    assert names[:2] == ["mine", "rehearsal"]
    assert names[2:] == [profile.name for profile in sweep(16)]
    assert (found[0].concurrency, found[0].requests, found[0].streaming) == (4, 16, True)


@pytest.mark.parametrize(
    ("names", "custom", "words"),
    [
        (["guide"], {}, "known are 2048_concurrent_2k_isl_2k_osl, rehearsal, sweep"),
        ([], {}, "no workload is named"),
        (["x"], {"x": {**CUSTOM, "isl": 1}}, "x: unknown keys isl"),
        (["x"], {"x": {"concurrency": 1}}, "x: requests, input_tokens, output_tokens missing"),
        (["x"], {"x": {**CUSTOM, "requests": 0}}, "x.requests: found 0"),
        (["x"], {"x": {**CUSTOM, "requests": "16"}}, "x.requests: found '16'"),
        (["x"], {"x": {**CUSTOM, "requests": True}}, "x.requests: found True"),
        (["x"], {"x": {**CUSTOM, "streaming": 1}}, "expected true or false"),
        (["a/b"], {"a/b": CUSTOM}, "'a/b' is no name"),
        (["../x"], {"../x": CUSTOM}, "is no name"),
    ],
)
def test_workloads_that_cannot_be_made_are_refused(names: list[str], custom: dict[str, t.Any], words: str) -> None:
    with pytest.raises(ProfileError, match=re.escape(words)):
        named(names, 16, custom)
