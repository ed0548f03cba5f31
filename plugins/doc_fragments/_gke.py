# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of how Google's APIs are reached. Private to the collection; it may change at any time."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  access_token_file:
    description:
      - A file with an access token of scope C(https://www.googleapis.com/auth/cloud-platform).
        It is read again every 30 seconds, so another program may renew it.
      - Exclusive with O(credentials_file). Without both, application default credentials are used.
    type: path
  api_endpoint:
    description:
      - Scheme, host and port that take the place of Google's for both APIs. C(http) is accepted on the loopback
        interface alone, because a token is sent.
    type: str
  credentials_file:
    description:
      - A service account's key, or a user's credentials as C(gcloud auth application-default login) writes them.
        Others are named in E(GOOGLE_APPLICATION_CREDENTIALS).
    type: path
  project:
    description: The project's id.
    type: str
    required: true
  retry_for:
    description: Seconds for which lost connections, server errors and rate limits are borne at one request.
    type: float
    default: 300
requirements:
  - google-auth >= 2.30
  - requests >= 2.31
  - tenacity >= 8.2
"""

    # What the modules that change something have on top.
    WORK = r"""
options:
  allow_replace:
    description:
      - Names of objects that may be deleted and created anew when a difference cannot be changed in place.
      - Without its name here, nothing is ever deleted to replace it.
    type: list
    elements: str
    default: []
  owner:
    description:
      - Whose the objects are. It is written into a label or a description, and objects with another mark or none are
        neither changed nor deleted.
    type: str
    required: true
  poll_interval:
    description: The longest pause between two looks at an operation, in seconds. The first pauses are shorter.
    type: float
    default: 30
  progress_file:
    description: A file to which a line is appended for each step, so that it can be followed during the run.
    type: path
  state:
    description: Whether the objects shall exist.
    type: str
    choices: [present, absent]
    default: present
  timeout:
    description:
      - Give up after so many seconds. Operations go on at Google then; the next run takes them up.
    type: float
    default: 3600
"""
