# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_files
short_description: Render a folder of configuration files in one go
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Renders many Jinja templates and copies many files with one task, where one task per file would take a minute.
  - A template may call C(digest) with paths under O(dest) and gets a hash of these files as they are after the run, in
    check mode too. Files are rendered in the order of O(files). C(text) gives the contents of a file under O(dest).
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed.
    support: full
options:
  dest:
    description: The folder that the files are written to.
    type: path
    required: true
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      copy:
        description: A file to copy as it is. One of O(files[].copy), O(files[].data) and O(files[].template).
        type: path
      data:
        description: Data to write as JSON.
        type: dict
      mode:
        description: The permissions, in octal.
        type: str
        default: "0644"
      path:
        description: Where the file goes, relative to O(dest).
        type: str
        required: true
      template:
        description: A template to render.
        type: path
      variables:
        description: Variables of this template, beside O(variables).
        type: dict
        default: {}
  variables:
    description: Variables of all templates.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Render the configuration of two nodes
  llmd.wide_ep.rehearsal_files:
    dest: /var/lib/llmd-wide-ep/local/cluster
    files:
      - path: etc/nodes/local-cpu-0/kubelet.yaml
        template: "{{ role_path }}/templates/kubelet.yaml.j2"
        variables:
          node: {name: local-cpu-0, address: 10.200.0.10}
"""

RETURN = r"""
files:
  description: The files that were written.
  type: list
  elements: str
  returned: always
"""

import hashlib
import json
import pathlib
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_files import Wanted, ensure

JINJA_IMPORT_ERROR: str | None = None
try:
    import jinja2
except ImportError:
    JINJA_IMPORT_ERROR = traceback.format_exc()

FILE = {
    "path": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
    "template": {"type": "path"},
    "copy": {"type": "path"},
    "data": {"type": "dict"},
    "variables": {"type": "dict", "default": {}},
}
ARGUMENTS: dict[str, t.Any] = {
    "dest": {"type": "path", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": FILE,
        "mutually_exclusive": [("template", "copy", "data")],
        "required_one_of": [("template", "copy", "data")],
    },
    "variables": {"type": "dict", "default": {}},
}


class Renderer:
    """Renders files in order; later templates may ask for digests of earlier ones."""

    def __init__(self, dest: pathlib.Path, variables: dict[str, t.Any]) -> None:
        self.dest = dest
        self.variables = variables
        self.rendered: dict[str, bytes] = {}
        self.environments: dict[pathlib.Path, t.Any] = {}

    def digest(self, *paths: str) -> str:
        total = hashlib.sha256()
        for path in paths:
            content = self.rendered.get(path)
            if content is None:
                file = self.dest / path
                content = file.read_bytes() if file.exists() else b""
            total.update(hashlib.sha256(content).digest())
        return total.hexdigest()[:16]

    def text(self, path: str) -> str:
        """A file that is there already; nothing before it is."""
        file = self.dest / path
        return file.read_text() if file.exists() else ""

    def content(self, item: dict[str, t.Any]) -> bytes:
        if item["copy"]:
            return pathlib.Path(item["copy"]).read_bytes()
        if item["data"] is not None:
            return (json.dumps(item["data"], indent=1, sort_keys=True) + "\n").encode()
        source = pathlib.Path(item["template"])
        template = self.environment(source.parent).get_template(source.name)
        return template.render(**self.variables, **item["variables"]).encode()

    def environment(self, folder: pathlib.Path) -> t.Any:
        """One per folder, since it keeps the templates that it has compiled."""
        if folder not in self.environments:
            environment = jinja2.Environment(
                loader=jinja2.FileSystemLoader(folder),
                undefined=jinja2.StrictUndefined,
                trim_blocks=True,
                keep_trailing_newline=True,
                autoescape=False,
            )
            environment.globals["digest"] = self.digest
            environment.globals["text"] = self.text
            self.environments[folder] = environment
        return self.environments[folder]

    def add(self, item: dict[str, t.Any]) -> Wanted:
        content = self.content(item)
        self.rendered[item["path"]] = content
        return Wanted(self.dest / item["path"], content, int(item["mode"], 8))


def diff_of(wanted: Wanted) -> dict[str, str]:
    before = wanted.path.read_bytes() if wanted.path.exists() else b""
    return {
        "before_header": str(wanted.path),
        "after_header": str(wanted.path),
        "before": before.decode(errors="replace"),
        "after": wanted.content.decode(errors="replace"),
    }


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if JINJA_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("jinja2"), exception=JINJA_IMPORT_ERROR)
    renderer = Renderer(pathlib.Path(module.params["dest"]), module.params["variables"])
    item: dict[str, t.Any] = {}
    try:
        files = []
        for item in module.params["files"]:
            files.append(renderer.add(item))
        pending = ensure(files, check_mode=True)
        diff = [diff_of(wanted) for wanted in pending]
        ensure(pending, module.check_mode)
    except jinja2.TemplateError as error:
        module.fail_json(msg=f"cannot render {item['path']} from {item['template']}: {error}")
    except OSError as error:
        module.fail_json(msg=f"cannot write the configuration: {error}")
    module.exit_json(changed=bool(pending), files=[str(wanted.path) for wanted in pending], diff=diff)


if __name__ == "__main__":
    main()
