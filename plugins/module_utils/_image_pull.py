# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can every node pull an image, and is it the same one everywhere? Decisions on pods that do nothing else.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
COMPONENT_LABEL = "wide-ep.llm-d.ai/component"
COMPONENT = "image-pull"
#: No image has it: the runtime says so after the pull, and the image's own program never starts.
NO_PROGRAM = "/llmd-wide-ep-pulls-this-image-only"
#: Reasons that do not heal, and those that do within a grace in seconds (a registry that is restarted, a rate limit).
REFUSED = {"InvalidImageName": 0.0, "ErrImageNeverPull": 0.0, "ErrImagePull": 20.0, "ImagePullBackOff": 20.0}
DENIED = ("unauthorized", "denied", "forbidden", "403", "401")
ABSENT = ("not found", "manifest unknown", "name unknown")


@dataclasses.dataclass(frozen=True)
class Pull:
    """One image on one node."""

    node: str
    image: str
    state: t.Literal["pulled", "waiting", "failed"]
    digest: str = ""
    message: str = ""


def pull_container(index: int, image: str) -> JsonObject:
    """Pulls and starts nothing."""
    return {
        "name": f"image-{index}",
        "image": image,
        "imagePullPolicy": "Always",
        "command": [NO_PROGRAM],
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False},
    }


def pod(
    release: str,
    namespace: str,
    node: str,
    images: t.Sequence[str],
    secrets: t.Sequence[Json],
    *,
    tried: t.Sequence[Json] = (),
) -> JsonObject:
    """A pod that is bound to its node at once, past the scheduler, so that a full node can pull as well.

    Images of ``tried``, which are containers that start something, are pulled by those.
    """
    started = {entry["image"] for entry in tried}
    pulled = [pull_container(index, image) for index, image in enumerate(images) if image not in started]
    tail = hashlib.sha256("\n".join([node, *images, *(entry["name"] for entry in tried)]).encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{release}-image-pull-{tail}",
            "namespace": namespace,
            "labels": {DEPLOYMENT_LABEL: release, COMPONENT_LABEL: COMPONENT},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": [dict(entry) for entry in secrets],
            "containers": [*pulled, *(dict(entry) for entry in tried)],
        },
    }


def states(item: Json, age: float) -> list[Pull]:
    """What became of each image of a pull pod that is ``age`` seconds old."""
    node = item["spec"]["nodeName"]
    status = item.get("status") or {}
    found = {entry["name"]: entry for entry in status.get("containerStatuses") or ()}
    return [
        _state(node, container, found.get(container["name"]), status, age) for container in item["spec"]["containers"]
    ]


def _state(node: str, container: Json, entry: Json | None, status: Json, age: float) -> Pull:
    image = container["image"]
    if entry is None:
        # The kubelet refuses a pod as a whole (too many pods, a node that shuts down).
        if status.get("phase") == "Failed":
            return Pull(node, image, "failed", message=f"{status.get('reason', '')}: {status.get('message', '')}")
        return Pull(node, image, "waiting", message=str(status.get("phase") or "not seen by its node yet"))
    if entry.get("imageID"):
        return Pull(node, image, "pulled", digest=str(entry["imageID"]).rpartition("@")[2])
    waiting = (entry.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    grace = REFUSED.get(reason)
    denied = any(word in message.lower() for word in (*DENIED, *ABSENT))
    if grace is not None and (age > grace or denied):
        return Pull(node, image, "failed", message=f"{reason}: {message}")
    return Pull(node, image, "waiting", message=reason or "waiting")


def findings(pulls: t.Sequence[Pull]) -> list[Finding]:
    """Failures by image, then images that are not the same everywhere."""
    found = []
    for image in dict.fromkeys(pull.image for pull in pulls):
        of_image = [pull for pull in pulls if pull.image == image]
        bad = [pull for pull in of_image if pull.state != "pulled"]
        if bad:
            found.append(_failed(image, bad, len(of_image)))
        digests = {pull.digest for pull in of_image if pull.digest}
        if len(digests) > 1:
            seen = ", ".join(f"{pull.node} {pull.digest[:19]}" for pull in of_image if pull.digest)
            fix = "A tag moved, or a mirror is behind. Name the image by digest in wide_ep_image_overrides."
            found.append(Finding("IMAGE_DIGEST_MIXED", "error", image, seen, fix))
    return found


def _failed(image: str, bad: t.Sequence[Pull], total: int) -> Finding:
    text = bad[0].message.lower()
    nodes = ", ".join(pull.node for pull in bad)
    seen = f"{len(bad)} of {total} nodes cannot pull it ({nodes}): {bad[0].message}"
    if any(word in text for word in ABSENT):
        fix = "Correct the reference in wide_ep_image_overrides, or put the image into the registry of wide_ep_mirror."
        return Finding("IMAGE_NOT_FOUND", "error", image, seen, fix)
    if any(word in text for word in DENIED):
        fix = "Give the namespace credentials for the registry and name them in model_server_image_pull_secrets."
        return Finding("IMAGE_DENIED", "error", image, seen, fix)
    fix = "Check the network between the nodes and the registry, then run it again."
    return Finding("IMAGE_PULL_FAILED", "error", image, seen, fix)


def no_namespace(namespace: str) -> Finding:
    seen = "it does not exist, and the pods that pull the images are made in it"
    fix = "Make it first: playbooks/workspace.yml, with the credentials for the registry where there are any."
    return Finding("IMAGE_PULL_FAILED", "error", f"namespace {namespace}", seen, fix)


def digests(pulls: t.Iterable[Pull]) -> dict[str, str]:
    return {pull.image: pull.digest for pull in pulls if pull.digest}
