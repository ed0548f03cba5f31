# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import operate_data as data
import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _rollback

FIELDS = {
    "f:metadata": {"f:labels": {"f:llm-d.ai/role": {}}},
    "f:spec": {"f:replicas": {}, "f:leaderWorkerTemplate": {"f:size": {}}},
}


def test_state_is_what_was_applied() -> None:
    live = data.workload("decode")
    live["metadata"]["managedFields"] = [
        {"manager": "lws", "fieldsV1": {}},
        {"manager": "llmd.wide_ep", "fieldsV1": FIELDS},
    ]
    live["spec"]["startupPolicy"] = "LeaderCreated"
    found = _rollback.state([live], {"chart": "standalone-v1.5.0", "release_values": {"a": 1}})
    (item,) = found["objects"]
    assert item["metadata"] == {
        "labels": {"llm-d.ai/role": "decode"},
        "name": f"{data.RELEASE}-nvidia-gpu-vllm-decode",
        "namespace": data.NAMESPACE,
    }
    assert item["spec"] == {"replicas": 1, "leaderWorkerTemplate": {"size": 2}}
    assert found["router"] == {"chart": "standalone", "version": "v1.5.0", "values": {"a": 1}}


def test_a_set_of_someone_else_has_no_way_back() -> None:
    with pytest.raises(ValueError, match="nothing of LeaderWorkerSet"):
        _rollback.applied(data.workload("decode"))


def test_tier_objects_share_the_account() -> None:
    account = {"kind": "ServiceAccount", "metadata": {"name": "a"}}
    objects = [account, data.workload("prefill"), data.workload("decode")]
    assert [item["kind"] for item in _rollback.tier_objects(objects, "decode")] == ["ServiceAccount", "LeaderWorkerSet"]
    assert _rollback.tier_objects(objects, "decode")[1] == objects[2]
