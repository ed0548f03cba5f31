# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role monitoring."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _monitoring, _monitoring_dashboard


def monitoring_decision(served: t.Sequence[t.Mapping[str, t.Any]], kind: str, absent: str) -> dict[str, t.Any]:
    """Which kind of monitoring to make, given the kinds that the API server serves."""
    return _monitoring.decide(served, kind, absent).as_dict()


def monitoring_objects(
    plan: t.Mapping[str, t.Any],
    kind: str,
    rules: t.Mapping[str, t.Any],
    dashboard: t.Mapping[str, t.Any],
    settings: t.Mapping[str, t.Any],
) -> list[dict[str, t.Any]]:
    """The monitors, the rules and the dashboard of a deployment."""
    # A round trip through JSON drops the tags that Ansible puts on values.
    plan, rules, dashboard, settings = json.loads(json.dumps([plan, rules, dashboard, settings]))
    scraped = _monitoring.targets(plan, settings["guide_labels"], router=settings["router"])
    try:
        groups = _monitoring.rule_groups(
            rules, plan, settings["words"], runbook=settings["runbook"], off=settings["alerts_off"]
        )
        text = _monitoring_dashboard.text(dashboard, plan["namespace"], plan["release"])
    except (KeyError, ValueError) as error:
        raise AnsibleFilterError(f"the rules cannot be made: {error}") from error
    made = _monitoring.objects(kind, scraped, groups, plan, interval=settings["interval"], labels=settings["labels"])
    if settings["dashboard"]:
        made.append(_monitoring.config_map(plan, settings["dashboard_labels"], {f"{plan['release']}.json": text}))
    return made


def monitoring_problems(
    pods: t.Sequence[t.Mapping[str, t.Any]], plan: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]
) -> list[str]:
    """Why monitors would get no series from pods that they select; empty where they get them."""
    scraped = _monitoring.targets(plan, settings["guide_labels"], router=settings["router"])
    return [finding.text() for finding in _monitoring.problems(scraped, pods)]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "monitoring_decision": monitoring_decision,
            "monitoring_objects": monitoring_objects,
            "monitoring_problems": monitoring_problems,
        }
