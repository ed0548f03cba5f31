# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_images
short_description: Add ready-made images to the registry of a rehearsal cluster
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Makes a registry folder that has everything of the built one and the given images. It lies beside the built one,
    which stays as it is; its name follows from the contents of both, so that a second run finds it.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed.
    support: none
options:
  images:
    description: The images.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The full name, as the deployment asks for it, for example C(ghcr.io/org/name:v1.0.0).
        type: str
        required: true
      path:
        description: An archive as C(docker save) or C(crane pull) writes it, or the folder of an OCI image layout.
        type: path
        required: true
  manifest:
    description: The manifest of the built programs.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Add the endpoint picker of a newer release
  llmd.wide_ep.rehearsal_images:
    manifest: ~/.cache/llmd-wide-ep/manifests/standalone.json
    images:
      - name: ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.10.0
        path: /srv/images/epp.tar
"""

RETURN = r"""
registry:
  description: The folder of the registry with the images.
  type: str
  returned: success
"""

import json
import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_images as images
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import report

ARGUMENTS: dict[str, t.Any] = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "path": {"type": "path", "required": True}},
    },
    "manifest": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    extras = [images.Extra(row["name"], pathlib.Path(row["path"])) for row in module.params["images"]]
    findings = [finding for extra in extras for finding in images.judge(extra)]
    if findings:
        module.fail_json(msg=report(findings))
    try:
        manifest = json.loads(pathlib.Path(module.params["manifest"]).read_text(encoding="utf-8"))
        base = pathlib.Path(manifest["registry"]["path"])
        programs = {name: pathlib.Path(manifest["programs"][name]["path"]) for name in ("crane", "registry")}
        digests = {extra.name: images.digest_of(extra.path) for extra in extras}
        folder = base.with_name(images.folder_name(base.name, digests)) if digests else base
        changed = not folder.exists()
        if changed and not module.check_mode:
            changed = images.make(folder, base, extras, **programs)
    except (images.ImagesError, OSError, KeyError, ValueError) as error:
        module.fail_json(msg=f"the images cannot be added to the registry: {error!r}")
    module.exit_json(changed=changed, registry=str(folder))


if __name__ == "__main__":
    main()
