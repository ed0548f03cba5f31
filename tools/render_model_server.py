# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the model servers' manifests of every overlay and component to tests/data/rendered, as the role renders them.

The role's own variables and templates are used, with the inputs' defaults and the sizes of the overlay's inventory: a
change of a default, a layer or a template shows in the committed files. `--check` compares instead of writing.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
RENDERED = ROOT / "tests/data/rendered"
#: A rehearsal says nothing about monitoring that the plain form does not.
VARIANTS: tuple[tuple[str, ...], ...] = (
    (),
    ("topology_aware",),
    ("monitoring",),
    ("topology_aware", "monitoring"),
    ("rehearsal",),
    ("topology_aware", "rehearsal"),
)
HEADER = "---\n# Rendered by tools/render_model_server.py with the inputs' defaults. Do not edit.\n"

# Before Ansible is imported: it reads its configuration then.
os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".ansible/collections"))


class Dumper(yaml.SafeDumper):
    """Block style for scripts, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indents lists, as yamllint wants them."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Dumper.add_representer(str, _text)


@functools.cache
def role_variables() -> dict[str, Any]:
    """Defaults and constants of the role and of the one it depends on, as Ansible sees them."""
    from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
    from ansible.plugins.loader import init_plugin_loader  # noqa: PLC0415

    init_plugin_loader([])
    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_search_path": [str(ROOT / "roles/model_server")]}
    for role, kind in itertools.product(("wide_ep", "model_server"), ("defaults", "vars")):
        path = ROOT / "roles" / role / kind / "main.yml"
        variables.update(loader.load_from_file(str(path), trusted_as_template=True) or {})
    return variables


def sizes(overlay: str) -> dict[str, Any]:
    """What the overlay's inventory says about groups, hosts and ranks."""
    path = ROOT / "inventories" / overlay.replace("_", "-") / "group_vars/wide_ep/main.yml"
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: value for name, value in given.items() if name.endswith(("_groups", "_per_group", "_per_host"))}


def evaluate(expression: str, overlay: str, components: Sequence[str], **inputs: Any) -> Any:
    """An expression over the role's variables, in plain types without the tags that Ansible gives to values."""
    from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
    from ansible.template import Templar, trust_as_template  # noqa: PLC0415

    chosen = {"wide_ep_overlay": overlay, "wide_ep_components": list(components), **sizes(overlay), **inputs}
    templar = Templar(loader=DataLoader(), variables={**role_variables(), **chosen})
    return plain(templar.template(trust_as_template("{{ " + expression + " }}")))


def render(overlay: str, components: Sequence[str], **inputs: Any) -> list[dict[str, Any]]:
    expression = "wide_ep_plan | llmd.wide_ep.model_server_manifests(_model_server_options, _model_server_layers)"
    rendered: list[dict[str, Any]] = evaluate(expression, overlay, components, **inputs)
    return rendered


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), None)


def combinations() -> list[tuple[str, str, tuple[str, ...], dict[str, Any]]]:
    """File name, overlay, components and inputs of everything that is rendered."""
    overlays = [str(name) for name in role_variables()["_model_server_overlays"]]
    found: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = [
        ("+".join([overlay, *names]), overlay, names, {}) for overlay in overlays for names in VARIANTS
    ]
    ports = {"wide_ep_load_balancing": "multi_port"}
    return [*found, *(("+".join(["gke", *names, "multi_port"]), "gke", names, ports) for names in ((), ("rehearsal",)))]


def text_of(overlay: str, components: Sequence[str], **inputs: Any) -> str:
    document = {"apiVersion": "v1", "kind": "List", "items": render(overlay, components, **inputs)}
    return HEADER + yaml.dump(document, Dumper=Dumper, sort_keys=False, width=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="show differences to the files instead of writing them")
    options = parser.parse_args()
    differs = False
    for name, overlay, components, inputs in combinations():
        path, text = RENDERED / f"{name}.yaml", text_of(overlay, components, **inputs)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == text:
            continue
        differs = True
        print("".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), str(path), "rendered")))
        if not options.check:
            path.write_text(text, encoding="utf-8")
    return 1 if differs and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
