# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana's JSON of a dashboard that is written as rows of panels.

Private to the collection: it may change at any time, do not import it from elsewhere. Format: Grafana's JSON model,
schema version 39 (Grafana 10 and newer; newer ones migrate it when they load it).
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._monitoring import filled

Json = dict[str, t.Any]

SCHEMA_VERSION = 39
#: Grafana's grid has 24 columns.
WIDTH, HEIGHT, COLUMNS = 12, 8, 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: The choice of namespace and release comes from the series themselves.
ALL_SERIES = "vllm:num_requests_running"
WORDS = {
    "own": 'namespace="$namespace",release="$release"',
    "router": 'namespace="$namespace",router="${release}-epp"',
}


def dashboard(source: t.Mapping[str, t.Any], namespace: str, release: str) -> Json:
    """The dashboard, opened on one deployment."""
    return {
        "uid": f"llmd-wide-ep-{release}"[:40],
        "title": source["title"],
        "tags": ["llm-d", "wide-ep"],
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables(namespace, release)},
        "panels": panels(filled(source["rows"], WORDS)),
    }


def text(source: t.Mapping[str, t.Any], namespace: str, release: str) -> str:
    return json.dumps(dashboard(source, namespace, release), indent=1, sort_keys=True) + "\n"


def variables(namespace: str, release: str) -> list[Json]:
    of_namespace = ALL_SERIES + '{namespace="$namespace"}'
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _choice("namespace", "Namespace", f"label_values({ALL_SERIES}, namespace)", namespace),
        _choice("release", "Deployment", f"label_values({of_namespace}, release)", release),
    ]


def _choice(name: str, label: str, query: str, current: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "current": {"text": current, "value": current},
    }


def panels(rows: t.Sequence[t.Mapping[str, t.Any]]) -> list[Json]:
    """Each row's title above its panels, two beside each other."""
    found: list[Json] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        found.append({"id": len(found) + 1, "type": "row", "title": row["title"], "gridPos": place, "panels": []})
        top += 1
        for number, panel in enumerate(row["panels"]):
            x = number * WIDTH % COLUMNS
            y = top + number * WIDTH // COLUMNS * HEIGHT
            place = {"x": x, "y": y, "w": WIDTH, "h": HEIGHT}
            found.append({"id": len(found) + 1, "gridPos": place, **_panel(panel)})
        top += -(-len(row["panels"]) * WIDTH // COLUMNS) * HEIGHT
    return found


def _panel(panel: t.Mapping[str, t.Any]) -> Json:
    queries = enumerate(panel["queries"].items())
    return {
        "type": panel.get("kind", "timeseries"),
        "title": panel["title"],
        "description": panel.get("description", ""),
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel["unit"], "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for index, (legend, expr) in queries
        ],
    }
