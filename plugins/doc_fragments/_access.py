# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of how the API server is reached. Private to the collection; it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig. Without it E(KUBECONFIG) or C(~/.kube/config) is used.
    type: str
  context:
    description:
      - Context in the kubeconfig. Without it the current one is used.
    type: str
requirements:
  - kubernetes >= 24.2.0
attributes:
  action:
    description: It runs on the controller, in the process of the run.
    support: full
  action_group:
    description: Use C(group/llmd.wide_ep.k8s) in C(module_defaults) to set O(kubeconfig) and O(context) once.
    support: full
    membership:
      - llmd.wide_ep.k8s
"""
