# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module gke_cluster, and show its progress."""

from __future__ import annotations

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._live import LiveModuleAction


class ActionModule(LiveModuleAction):
    pass
