# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the argument data of the rehearsal image's `vllm` command from the sources in the published vLLM wheel.

The wheel is read, never imported or installed: its sources are parsed as syntax trees, and the steps that vLLM takes
from a configuration class to an argparse argument (`_compute_kwargs`, `add_cli_args`) are followed on those trees.
What a syntax tree cannot tell (choices computed at run time, converters that are arbitrary code) is accepted as it is
and listed under `unchecked`.

    pip download --no-deps --only-binary :all: --platform manylinux_2_31_x86_64 --dest WHEELS vllm==0.19.1
    python3 tools/generate_vllm_arguments.py WHEELS/vllm-0.19.1-*.whl [--check]
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).resolve().parent.parent / "roles/rehearsal_cluster/files/images/vllm/arguments.json"

BUILTINS = {"int", "float", "bool", "str", "dict", "list", "set", "tuple", "object"}
COLLECTIONS = ("tuple", "list", "set")
BOUNDS = ("ge", "gt", "le", "lt")
# Converters that vLLM assigns by hand; anything else is accepted unchecked.
CONVERTERS: dict[str, dict[str, Any]] = {
    "int": {"kind": "int"},
    "str": {"kind": "str"},
    "json.loads": {"kind": "json"},
    "optional_type(json.loads)": {"kind": "json", "optional": True},
    "optional_type(str)": {"kind": "str", "optional": True},
    "lambda s: s.lower().replace('-', '_')": {"kind": "lower_underscore"},
}
HUMAN_INTEGERS = {
    "max_model_len": "human_int_or_auto",
    "max_num_batched_tokens": "human_int",
    "kv_cache_memory_bytes": "human_int",
}
ACTIONS = {
    "argparse.BooleanOptionalAction": "boolean",
    "'store_true'": "store_true",
    "'append'": "append",
    "LoRAParserAction": "store",
}
# A validator that runs before the type check may turn anything into a valid value.
LOOSE_VALIDATORS = {"before": "any", "plain": "any", "wrap": "none"}

Spec = list[Any]


@dataclass(frozen=True)
class Definition:
    """A name's meaning: the module it is defined in and its node."""

    module: str
    node: ast.AST


@dataclass
class Sources:
    """Modules of the wheel, parsed on demand."""

    wheel: zipfile.ZipFile
    trees: dict[str, ast.Module | None] = field(default_factory=dict)
    tables: dict[str, dict[str, ast.AST]] = field(default_factory=dict)

    def tree(self, module: str) -> ast.Module | None:
        if module not in self.trees:
            base = module.replace(".", "/")
            names = set(self.wheel.namelist())
            path = next((p for p in (f"{base}.py", f"{base}/__init__.py") if p in names), None)
            self.trees[module] = ast.parse(self.wheel.read(path)) if path else None
        return self.trees[module]

    def names(self, module: str) -> dict[str, ast.AST]:
        if module not in self.tables:
            tree = self.tree(module)
            self.tables[module] = _top_level(tree.body) if tree else {}
        return self.tables[module]

    def resolve(self, module: str, name: str) -> Definition | None:
        """Follow imports inside the package until the definition of a name is found."""
        node = self.names(module).get(name)
        if isinstance(node, ast.ImportFrom):
            original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
            return self.resolve(self._absolute(module, node), original)
        return Definition(module, node) if node is not None else None

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return str(node.module)
        is_package = f"{module.replace('.', '/')}/__init__.py" in self.wheel.namelist()
        parts = module.split(".")
        parents = parts[: len(parts) - node.level + is_package]
        return ".".join([*parents, *([node.module] if node.module else [])])

    def require(self, module: str, name: str) -> ast.ClassDef:
        found = self.resolve(module, name)
        if found is None or not isinstance(found.node, ast.ClassDef):
            raise SystemExit(f"{module}: no class {name}; this release needs a change in {Path(__file__).name}")
        return found.node


def _top_level(body: list[ast.stmt]) -> dict[str, ast.AST]:
    names: dict[str, ast.AST] = {}
    for node in body:
        if isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: node for alias in node.names})
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            names[node.target.id] = node.value
        elif isinstance(node, ast.If):
            # `if TYPE_CHECKING: ... else: X = Any`: at run time only the second branch exists.
            names.update(_top_level(node.body))
            names.update(_top_level(node.orelse))
    return names


def _literal_values(sources: Sources, module: str, node: ast.AST) -> list[Any]:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    values: list[Any] = []
    for part in parts:
        if isinstance(part, ast.Constant):
            values.append(part.value)
        elif isinstance(part, ast.Name) and (found := sources.resolve(module, part.id)):
            alias = found.node
            if isinstance(alias, ast.Subscript):
                values += _literal_values(sources, found.module, alias.slice)
    return list(dict.fromkeys(values))


def type_spec(sources: Sources, module: str, node: ast.AST) -> Spec:
    """The alternatives of a type annotation, as data."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return type_spec(sources, module, ast.parse(node.value, mode="eval").body)
        return ["none"] if node.value is None else ["any"]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(type_spec(sources, module, node.left), type_spec(sources, module, node.right))
    if isinstance(node, ast.Subscript):
        return _subscript_spec(sources, module, node)
    if isinstance(node, ast.Name):
        return _name_spec(sources, module, node.id)
    return [{"class": ast.unparse(node)}]


def _union(*specs: Spec) -> Spec:
    merged: Spec = []
    for alternative in (item for spec in specs for item in spec):
        if alternative not in merged:
            merged.append(alternative)
    return merged


def _subscript_spec(sources: Sources, module: str, node: ast.Subscript) -> Spec:
    head = ast.unparse(node.value)
    if head == "Literal":
        return [{"literal": _literal_values(sources, module, node.slice)}]
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    inner = [type_spec(sources, module, part) for part in parts]
    known: dict[str, Spec] = {
        "Optional": _union(inner[0], ["none"]),
        "Union": _union(*inner),
        "Annotated": inner[0],
        "SkipValidation": _union(inner[0], [{"skip_validation": True}]),
        "dict": [{"dict": inner}],
    }
    if head in COLLECTIONS:
        length = None if head != "tuple" or ast.unparse(parts[-1]) == "..." else len(parts)
        return [{head: inner[0], "length": length}]
    return known.get(head, [{"class": head}])


def _name_spec(sources: Sources, module: str, name: str) -> Spec:
    if name in BUILTINS:
        return [{"dict": [["any"], ["any"]]}] if name == "dict" else [name]
    found = sources.resolve(module, name)
    if found and name != "Any" and isinstance(found.node, ast.ClassDef):
        return _class_spec(found.module, name, found.node)
    if found and name != "Any" and isinstance(found.node, (ast.Subscript, ast.BinOp, ast.Name)):
        return type_spec(sources, found.module, found.node)
    return [{"class": name}]


def _class_spec(module: str, name: str, node: ast.ClassDef) -> Spec:
    if _is_dataclass(node):
        return [{"config": name, "module": module}]
    if any("Enum" in ast.unparse(base) for base in node.bases):
        return [{"enum": _enum_values(node)}]
    return [{"class": name}]


def _enum_values(node: ast.ClassDef) -> list[Any]:
    values = []
    for item in node.body:
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant):
            values.append(item.value.value)
        elif isinstance(item, ast.Assign):
            return ["any"]
    return values


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = (ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list)
    return any(name in ("config", "dataclass", "dataclasses.dataclass") for name in names)


@dataclass(frozen=True)
class Field:
    """One field of a configuration class."""

    spec: Spec
    bounds: dict[str, float]
    loose: str | None


def class_fields(sources: Sources, module: str, node: ast.ClassDef) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for base in node.bases:
        found = sources.resolve(module, ast.unparse(base))
        if found and isinstance(found.node, ast.ClassDef) and _is_dataclass(found.node):
            fields.update(class_fields(sources, found.module, found.node))
    loose = _loose_fields(node)
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        annotation = ast.unparse(item.annotation)
        options = _field_options(item.value)
        if annotation.startswith(("ClassVar", "InitVar")) or options.get("init") is False:
            continue
        bounds = {key: options[key] for key in BOUNDS if isinstance(options.get(key), (int, float))}
        spec = type_spec(sources, module, item.annotation)
        fields[item.target.id] = Field(spec, bounds, loose.get(item.target.id))
    return fields


def _field_options(node: ast.AST | None) -> dict[str, Any]:
    if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("Field", "field"):
        return {}
    options = {}
    for keyword in node.keywords:
        try:
            options[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            continue
    return options


def _loose_fields(node: ast.ClassDef) -> dict[str, str]:
    loose: dict[str, str] = {}
    for item in node.body:
        for decorator in getattr(item, "decorator_list", []):
            if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "field_validator":
                continue
            mode = next((ast.literal_eval(k.value) for k in decorator.keywords if k.arg == "mode"), "after")
            if mode in LOOSE_VALIDATORS:
                loose.update({ast.literal_eval(name): mode for name in decorator.args})
    return loose


def _has(spec: Spec, *kinds: str) -> Any:
    for alternative in spec:
        name = alternative if isinstance(alternative, str) else next(iter(alternative))
        if name in kinds:
            return alternative
    return None


def argument_of(name: str, config_field: Field) -> dict[str, Any]:
    """What vLLM's `_compute_kwargs` makes of a field."""
    spec = config_field.spec
    if _has(spec, "bool") and not _has(spec, "config"):
        return {"action": "boolean"}
    argument = _typed_argument(name, spec)
    if config_field.bounds:
        argument["bounds"] = config_field.bounds
    if _has(spec, "none"):
        argument["optional"] = True
        if "choices" in argument:
            argument["choices"] = [*argument["choices"], "None"]
    return argument


def _typed_argument(name: str, spec: Spec) -> dict[str, Any]:
    """The first alternative that vLLM looks for decides, whatever else the field may be."""
    makers: tuple[tuple[tuple[str, ...], Callable[[Any], dict[str, Any]]], ...] = (
        (("config",), lambda found: {"kind": "config", "config": found["config"]}),
        (("literal",), lambda found: _literal_argument(spec, found["literal"])),
        (COLLECTIONS, _collection_argument),
        (("int",), lambda _found: {"kind": HUMAN_INTEGERS.get(name, "int")}),
        (("float",), lambda _found: {"kind": "float"}),
        (("dict",), lambda _found: {"kind": "dict_or_str" if _has(spec, "str", "class", "enum") else "json"}),
    )
    return next((make(found) for kinds, make in makers if (found := _has(spec, *kinds))), {"kind": "str"})


def _literal_argument(spec: Spec, values: list[Any]) -> dict[str, Any]:
    argument: dict[str, Any] = {"kind": type(values[0]).__name__}
    # vLLM turns the values into a help text only when any string is allowed as well.
    return argument if _has(spec, "str") else {**argument, "choices": sorted(values)}


def _collection_argument(collection: dict[str, Any]) -> dict[str, Any]:
    kind = next(name for name in COLLECTIONS if name in collection)
    element: Spec = collection[kind]
    nargs = collection["length"] or "+"
    if literal := _has(element, "literal"):
        return {**_literal_argument([], literal["literal"]), "nargs": nargs}
    plain = element[0] if len(element) == 1 and element[0] in ("int", "float", "str") else "str"
    return {"kind": plain, "nargs": nargs}


@dataclass
class Parser:
    """Follows the statements that register arguments and collects what they register."""

    sources: Sources
    module: str = "vllm.engine.arg_utils"
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)
    kwargs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    aliases: dict[str, dict[str, Any]] = field(default_factory=dict)

    def class_kwargs(self, module: str, name: str) -> dict[str, dict[str, Any]]:
        node = self.sources.require(module, name)
        found = self.sources.resolve(module, name)
        fields = class_fields(self.sources, found.module if found else module, node)
        return {key: argument_of(key, value) for key, value in fields.items()}

    def follow(self, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.If):
                self.follow(node.body)
                self.follow(node.orelse)
            elif isinstance(node, ast.Assign):
                self._assign(node.targets[0], node.value)
            elif isinstance(node, ast.AugAssign):
                self._change(node.target, None)
            elif isinstance(node, ast.Delete):
                self._delete(node.targets[0])
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._call(node.value)

    def _lookup(self, node: ast.AST) -> dict[str, Any] | None:
        """The arguments of one field: `parallel_kwargs["eplb_config"]` or a name given to it."""
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            table = self.kwargs.get(node.value.id)
            if table is not None and isinstance(node.slice, ast.Constant):
                if node.slice.value not in table:
                    raise SystemExit(f"{self.module}: {ast.unparse(node)} is not a field; change {Path(__file__).name}")
                return table[node.slice.value]
        return None

    def _assign(self, target: ast.AST, value: ast.AST) -> None:
        if isinstance(target, ast.Name):
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "get_kwargs":
                self.kwargs[target.id] = self.class_kwargs(self.module, ast.unparse(value.args[0]))
            elif (found := self._lookup(value)) is not None:
                self.aliases[target.id] = found
        elif isinstance(target, ast.Subscript):
            self._change(target, value)

    def _change(self, target: ast.AST, value: ast.AST | None) -> None:
        if not isinstance(target, ast.Subscript) or not isinstance(target.slice, ast.Constant):
            return
        argument, key = self._lookup(target.value), str(target.slice.value)
        if argument is None:
            return
        if key == "type" and value is not None:
            self._set_converter(argument, value)
        elif key == "action" and value is not None:
            argument["action"] = ACTIONS[ast.unparse(value)]
        elif key in ("choices", "action"):
            argument.pop(key, None)
            self.unchecked.append(f"{ast.unparse(target)}: computed when vLLM starts")

    def _set_converter(self, argument: dict[str, Any], value: ast.AST) -> None:
        known: dict[str, Any] | None = CONVERTERS.get(ast.unparse(value))
        argument.pop("optional", None)
        argument.update(known or {"kind": "str"})
        if known is None:
            self.unchecked.append(f"converter {ast.unparse(value)}")

    def _delete(self, target: ast.AST) -> None:
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            argument = self._lookup(target.value)
            if argument is not None:
                argument.pop(str(target.slice.value), None)

    def _call(self, call: ast.Call) -> None:
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "add_argument":
            return
        flags = [str(ast.literal_eval(flag)) for flag in call.args]
        argument: dict[str, Any] = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                argument.update(self._expanded(keyword.value))
            else:
                self._keyword(argument, keyword.arg, keyword.value)
        self.register(flags, argument)

    def _expanded(self, node: ast.AST) -> dict[str, Any]:
        if isinstance(node, ast.Dict):
            inner = next(value for key, value in zip(node.keys, node.values, strict=True) if key is None)
            return self._expanded(inner)
        found = self._lookup(node)
        if found is None:
            raise SystemExit(f"{self.module}: cannot follow {ast.unparse(node)}; change {Path(__file__).name}")
        return found

    def _keyword(self, argument: dict[str, Any], name: str, value: ast.AST) -> None:
        if name == "type":
            self._set_converter(argument, value)
        elif name == "action":
            argument["action"] = ACTIONS[ast.unparse(value)]
        elif name in ("choices", "nargs", "const"):
            argument[name] = ast.literal_eval(value)

    def register(self, flags: list[str], argument: dict[str, Any]) -> None:
        name = next((flag for flag in flags if flag.startswith("--")), flags[0])
        if argument.get("action") in ("boolean", "store_true"):
            argument = {"action": argument["action"]}
        else:
            argument = {"kind": "str", **argument}
        self.arguments[name] = {"flags": flags, **argument}


def _function(node: ast.ClassDef | ast.Module, name: str) -> list[ast.stmt]:
    return next(item.body for item in node.body if isinstance(item, ast.FunctionDef) and item.name == name)


def collect_arguments(sources: Sources) -> Parser:
    parser = Parser(sources)
    parser.follow(_function(sources.require("vllm.engine.arg_utils", "EngineArgs"), "add_cli_args"))
    parser.follow(_function(sources.require("vllm.engine.arg_utils", "AsyncEngineArgs"), "add_cli_args"))
    parser.module = "vllm.entrypoints.openai.cli_args"
    parser.kwargs["frontend_kwargs"] = parser.class_kwargs(parser.module, "FrontendArgs")
    for name in ("BaseFrontendArgs", "FrontendArgs"):
        parser.follow(_function(sources.require(parser.module, name), "_customize_cli_kwargs"))
    for name, argument in parser.kwargs["frontend_kwargs"].items():
        parser.register([f"--{name.replace('_', '-')}"], argument)
    tree = sources.tree(parser.module)
    if tree is None:
        raise SystemExit(f"the wheel has no {parser.module}")
    parser.follow(_function(tree, "make_arg_parser"))
    parser.module = "vllm.entrypoints.cli.serve"
    parser.follow(_function(sources.require(parser.module, "ServeSubcommand"), "subparser_init"))
    return parser


def collect_configs(sources: Sources, wanted: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Fields of every configuration class that can appear in a JSON argument, with those nested in them."""
    configs: dict[str, Any] = {}
    unchecked: list[str] = []
    queue = dict(wanted)
    while queue:
        name, module = queue.popitem()
        fields = class_fields(sources, module, sources.require(module, name))
        configs[name] = {}
        for key, value in sorted(fields.items()):
            spec = _union(value.spec, [LOOSE_VALIDATORS[value.loose]] if value.loose else [])
            plain = _plain(spec)
            configs[name][key] = {"type": plain, **({"bounds": value.bounds} if value.bounds else {})}
            if "any" in plain:
                unchecked.append(f"{name}.{key}")
            queue.update({n: m for n, m in _nested(spec) if n not in configs})
    return configs, unchecked


def _plain(spec: Spec) -> Spec:
    """The specification as the stand-in reads it: only what JSON can carry."""
    plain: Spec = []
    for item in spec:
        if isinstance(item, str):
            plain.append("any" if item == "object" else item)
        elif "config" in item:
            plain.append({"config": item["config"]})
        elif "literal" in item:
            plain.append(item)
        elif "enum" in item:
            plain.append({"literal": item["enum"]} if "any" not in item["enum"] else "any")
        elif "dict" in item:
            plain.append({"dict": [_plain(part) for part in item["dict"]]})
        elif any(kind in item for kind in COLLECTIONS):
            kind = next(name for name in COLLECTIONS if name in item)
            plain.append({"list": _plain(item[kind])})
        else:
            plain.append("any")
    return ["any"] if "any" in plain else plain


def _nested(spec: Spec) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for item in spec:
        if isinstance(item, dict):
            if "config" in item:
                found.append((item["config"], item["module"]))
            for value in item.values():
                if isinstance(value, list):
                    found += _nested(value)
    return found


def collect_environment(sources: Sources) -> dict[str, Any]:
    table = sources.names("vllm.envs")["environment_variables"]
    if not isinstance(table, ast.Dict):
        raise SystemExit("vllm.envs: environment_variables is not a literal table")
    environment: dict[str, Any] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        environment[str(ast.literal_eval(key) if key else "")] = _environment_variable(value)
    return environment


def _environment_variable(node: ast.AST) -> dict[str, Any]:
    text = ast.unparse(node)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_with_choices"):
        given = dict(zip(("name", "default", "choices", "case_sensitive"), node.args, strict=False))
        given.update({str(keyword.arg): keyword.value for keyword in node.keywords})
        try:
            choices = ast.literal_eval(given["choices"])
        except ValueError:
            return {}
        case = ast.literal_eval(given["case_sensitive"]) if "case_sensitive" in given else True
        return {"choices": choices, "case_sensitive": case, "many": "_list_" in text or "_set_" in text}
    match = re.fullmatch(r"lambda: (?:bool\()?(int|float)\(os\.(?:getenv|environ\.get)\(.*\)\)\)?", text)
    return {"kind": match.group(1)} if match else {}


def generate(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        sources = Sources(archive)
        parser = collect_arguments(sources)
        names = {argument["config"] for argument in parser.arguments.values() if argument.get("kind") == "config"}
        wanted = {name: found.module for name in names if (found := sources.resolve("vllm.config", name))}
        configs, unchecked = collect_configs(sources, wanted)
        environment = collect_environment(sources)
        metadata = archive.read(next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))).decode()
    version = re.search(r"^Version: (\S+)$", metadata, re.MULTILINE)
    return {
        "schema": 1,
        "source": {"package": "vllm", "version": version.group(1) if version else "", "file": wheel.name},
        "arguments": dict(sorted(parser.arguments.items())),
        "configs": dict(sorted(configs.items())),
        "environment": dict(sorted(environment.items())),
        "unchecked": sorted(set(parser.unchecked + unchecked)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("wheel", type=Path, help="the published wheel")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args()
    text = json.dumps(generate(options.wheel), indent=1, sort_keys=False) + "\n"
    if options.check:
        same = options.output.exists() and options.output.read_text(encoding="utf-8") == text
        print(f"{options.output}: {'up to date' if same else 'differs from the sources in ' + options.wheel.name}")
        return 0 if same else 1
    options.output.write_text(text, encoding="utf-8")
    print(f"{options.output}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
