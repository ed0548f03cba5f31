# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: admission_probe
short_description: Wait until the API server and its webhooks accept an object
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Creates the object by server-side dry run until it is accepted. Nothing is stored.
  - A controller that was just installed is not ready when its Deployment is; its webhook has no endpoint yet, or the
    rules of its Service have not reached the API server's machine, and the first create fails.
  - Stops at once where a webhook or the API server judges the object itself and refuses it.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: Tries once and does not fail where the object's kind is not served yet.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  definition:
    description: The object. One that exists already counts as accepted.
    type: dict
    required: true
  timeout:
    description: Seconds after which the wait fails.
    type: float
    default: 120.0
"""

EXAMPLES = r"""
- name: Wait for the webhook of a controller
  llmd.wide_ep.admission_probe:
    definition: "{{ lookup('ansible.builtin.file', 'probe.yml') | from_yaml }}"
    timeout: 60
"""

RETURN = r"""
accepted:
  description: Whether the object was accepted.
  type: bool
  returned: always
attempts:
  description: How many dry runs were sent.
  type: int
  returned: always
  sample: 3
seconds:
  description: How long it took.
  type: float
  returned: always
  sample: 1.2
"""
