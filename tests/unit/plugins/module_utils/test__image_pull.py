# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _image_pull
from ansible_collections.llmd.wide_ep.plugins.module_utils._image_pull import Pull

IMAGE = "registry.example/vllm:v2"
# What kubelet 1.35 writes of a container whose image is there and whose program is not.
NO_PROGRAM = {
    "imageID": "registry.example/vllm@sha256:aaaa",
    "state": {"terminated": {"reason": "StartError", "exitCode": 128}},
}


def status(**entry: t.Any) -> dict[str, t.Any]:
    return {"phase": "Pending", "containerStatuses": [{"name": "image-0", "imageID": "", **entry}]}


def waiting(reason: str, message: str = "") -> dict[str, t.Any]:
    return status(state={"waiting": {"reason": reason, "message": message}})


@pytest.mark.parametrize(
    ("found", "age", "state"),
    [
        ({}, 1, "waiting"),
        ({"phase": "Failed", "reason": "OutOfpods", "message": "too many"}, 1, "failed"),
        (waiting("ContainerCreating"), 900, "waiting"),
        (status(**NO_PROGRAM), 1, "pulled"),
        (waiting("ImagePullBackOff", "dial tcp: i/o timeout"), 5, "waiting"),
        (waiting("ImagePullBackOff", "dial tcp: i/o timeout"), 30, "failed"),
        (waiting("ErrImagePull", "manifest unknown"), 1, "failed"),
        (waiting("ErrImagePull", "pull access denied"), 1, "failed"),
        (waiting("InvalidImageName"), 1, "failed"),
    ],
)
def test_state(found: dict[str, t.Any], age: float, state: str) -> None:
    item = _image_pull.pod("release", "ns", "gpu-0", [IMAGE], [])
    (pull,) = _image_pull.states({**item, "status": found}, age)
    assert (pull.node, pull.image, pull.state) == ("gpu-0", IMAGE, state)
    assert pull.digest == ("sha256:aaaa" if state == "pulled" else "")


def test_the_pod_is_bound_and_starts_nothing_of_the_image() -> None:
    item = _image_pull.pod("release", "ns", "gpu-0", [IMAGE, "other:1"], [{"name": "credentials"}])
    spec = item["spec"]
    assert (spec["nodeName"], spec["restartPolicy"], spec["imagePullSecrets"]) == (
        "gpu-0",
        "Never",
        [{"name": "credentials"}],
    )
    assert [entry["imagePullPolicy"] for entry in spec["containers"]] == ["Always", "Always"]
    assert all(entry["command"] == [_image_pull.NO_PROGRAM] for entry in spec["containers"])
    assert "nvidia.com/gpu" not in str(spec["containers"])
    assert item["metadata"]["name"] != _image_pull.pod("release", "ns", "gpu-1", [IMAGE], [])["metadata"]["name"]


def failed(node: str, message: str) -> Pull:
    return Pull(node, IMAGE, "failed", message=message)


@pytest.mark.parametrize(
    ("pulls", "codes", "words"),
    [
        ([Pull("a", IMAGE, "pulled", "sha256:1"), Pull("b", IMAGE, "pulled", "sha256:1")], [], ""),
        (
            [Pull("a", IMAGE, "pulled", "sha256:1"), Pull("b", IMAGE, "pulled", "sha256:2")],
            ["IMAGE_DIGEST_MIXED"],
            "a sha256:1, b",
        ),
        (
            [Pull("a", IMAGE, "pulled", "sha256:1"), failed("b", "manifest unknown")],
            ["IMAGE_NOT_FOUND"],
            "1 of 2 nodes",
        ),
        ([failed("a", "pull access denied")], ["IMAGE_DENIED"], "a"),
        ([failed("a", "i/o timeout")], ["IMAGE_PULL_FAILED"], "i/o timeout"),
        ([Pull("a", IMAGE, "waiting", message="ContainerCreating")], ["IMAGE_PULL_FAILED"], "ContainerCreating"),
    ],
)
def test_findings(pulls: list[Pull], codes: list[str], words: str) -> None:
    found = _image_pull.findings(pulls)
    assert [item.code for item in found] == codes
    assert words in "".join(item.evidence for item in found)
