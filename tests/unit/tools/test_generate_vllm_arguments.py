# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generator on a small wheel that has each construct of vLLM's sources once."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from loading import load_file

ROOT = Path(__file__).parents[3]
tool = load_file(ROOT / "tools/generate_vllm_arguments.py", "generate_vllm_arguments")

SOURCES = {
    "vllm-9.8.7.dist-info/METADATA": "Metadata-Version: 2.4\nName: vllm\nVersion: 9.8.7\n",
    "vllm/config/__init__.py": "from .parts import Main, Nested\n",
    "vllm/config/parts.py": '''
from typing import TYPE_CHECKING, ClassVar, Literal
import enum
if TYPE_CHECKING:
    from elsewhere import Loader
else:
    Loader = Any
Inner = Literal["a", "b"]
Outer = Literal["auto", Inner]
class Kind(enum.Enum):
    ONE = 1
    TWO = 2
@config
class Nested:
    size: int = Field(default=1, ge=1)
    kind: Kind = Kind.ONE
    anything: int = 0
    made: int = field(init=False)
    shared: ClassVar[int] = 0
    @field_validator("anything", mode="before")
    def _loose(cls, value): return value
@config
class Main:
    choice: Outer = "auto"
    choice_or_text: Outer | str = "auto"
    optional: int | None = None
    max_model_len: int = 0
    numbers: list[int] | None = None
    names: set[str] = Field(default_factory=set)
    words: dict[str, str] | str = ""
    table: dict[str, int] = Field(default_factory=dict)
    switch: bool | None = None
    nested: Nested | None = None
    loader: Loader | str = "auto"
    share: float = Field(default=0.9, gt=0, le=1)
    backend: Outer = "auto"
''',
    "vllm/engine/arg_utils.py": '''
from vllm.config import Main
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        main_kwargs = get_kwargs(Main)
        group = parser.add_argument_group(title="Main")
        if not help_wanted:
            group.add_argument("--choice", "-c", **main_kwargs["choice"])
        for_text = main_kwargs["choice_or_text"]
        group.add_argument("--choice-or-text", **for_text)
        group.add_argument("--optional", **{**main_kwargs["optional"], "default": None})
        group.add_argument("--max-model-len", **main_kwargs["max_model_len"])
        group.add_argument("--numbers", **main_kwargs["numbers"])
        group.add_argument("--names", **main_kwargs["names"])
        group.add_argument("--words", **main_kwargs["words"])
        group.add_argument("--table", **main_kwargs["table"])
        group.add_argument("--switch", **main_kwargs["switch"])
        group.add_argument("--nested", **main_kwargs["nested"])
        group.add_argument("--loader", **main_kwargs["loader"])
        group.add_argument("--share", **main_kwargs["share"])
        backend_kwargs = main_kwargs["backend"]
        backend_kwargs["choices"] += computed()
        group.add_argument("--backend", **backend_kwargs)
        parser.add_argument("--plain", type=int, choices=[1, 2])
class AsyncEngineArgs(EngineArgs):
    @staticmethod
    def add_cli_args(parser):
        parser.add_argument("--log", action=argparse.BooleanOptionalAction)
''',
    "vllm/entrypoints/openai/cli_args.py": '''
@config
class BaseFrontendArgs:
    template: str | None = None
    @classmethod
    def _customize_cli_kwargs(cls, frontend_kwargs):
        frontend_kwargs["template"]["type"] = strange()
@config
class FrontendArgs(BaseFrontendArgs):
    allowed_origins: list[str] = field(default_factory=list)
    @classmethod
    def _customize_cli_kwargs(cls, frontend_kwargs):
        frontend_kwargs["allowed_origins"]["type"] = json.loads
        del frontend_kwargs["allowed_origins"]["nargs"]
def make_arg_parser(parser):
    parser.add_argument("model_tag", type=str, nargs="?")
    parser.add_argument("--headless", action="store_true")
''',
    "vllm/entrypoints/cli/serve.py": '''
class ServeSubcommand:
    def subparser_init(self, subparsers):
        serve_parser.add_argument("--grpc", action="store_true")
''',
    "vllm/envs.py": '''
environment_variables: dict = {
    "VLLM_TEXT": lambda: os.getenv("VLLM_TEXT", ""),
    "VLLM_NUMBER": lambda: int(os.getenv("VLLM_NUMBER", "5")),
    "VLLM_SWITCH": lambda: bool(int(os.environ.get("VLLM_SWITCH", "0"))),
    "VLLM_CHOICE": env_with_choices("VLLM_CHOICE", None, ["a", "b"], case_sensitive=False),
    "VLLM_SET": env_set_with_choices("VLLM_SET", default=[], choices=["c"]),
    "VLLM_COMPUTED": env_with_choices("VLLM_COMPUTED", None, lambda: compute()),
}
''',
}  # fmt: skip

ARGUMENTS: dict[str, dict[str, Any]] = {
    "--choice": {"flags": ["--choice", "-c"], "kind": "str", "choices": ["a", "auto", "b"]},
    "--choice-or-text": {"kind": "str"},
    "--optional": {"kind": "int", "optional": True},
    "--max-model-len": {"kind": "human_int_or_auto"},
    "--numbers": {"kind": "int", "nargs": "+", "optional": True},
    "--names": {"kind": "str", "nargs": "+"},
    "--words": {"kind": "dict_or_str"},
    "--table": {"kind": "json"},
    "--switch": {"action": "boolean"},
    "--nested": {"kind": "config", "config": "Nested", "optional": True},
    "--loader": {"kind": "str"},
    "--share": {"kind": "float", "bounds": {"gt": 0, "le": 1}},
    "--backend": {"kind": "str"},
    "--plain": {"kind": "int", "choices": [1, 2]},
    "--log": {"action": "boolean"},
    "--template": {"kind": "str"},
    "--allowed-origins": {"kind": "json"},
    "model_tag": {"flags": ["model_tag"], "kind": "str", "nargs": "?"},
    "--headless": {"action": "store_true"},
    "--grpc": {"action": "store_true"},
}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "vllm-9.8.7-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in SOURCES.items():
            archive.writestr(name, text)
    return path


def test_arguments(wheel: Path) -> None:
    generated = tool.generate(wheel)["arguments"]
    assert generated == {name: {"flags": [name], **expected} for name, expected in ARGUMENTS.items()}


def test_json_keys(wheel: Path) -> None:
    assert tool.generate(wheel)["configs"] == {
        "Nested": {
            "anything": {"type": ["any"]},
            "kind": {"type": [{"literal": [1, 2]}]},
            "size": {"type": ["int"], "bounds": {"ge": 1}},
        }
    }


def test_environment(wheel: Path) -> None:
    assert tool.generate(wheel)["environment"] == {
        "VLLM_CHOICE": {"choices": ["a", "b"], "case_sensitive": False, "many": False},
        "VLLM_COMPUTED": {},
        "VLLM_NUMBER": {"kind": "int"},
        "VLLM_SET": {"choices": ["c"], "case_sensitive": True, "many": True},
        "VLLM_SWITCH": {"kind": "int"},
        "VLLM_TEXT": {},
    }


def test_what_cannot_be_seen_is_listed(wheel: Path) -> None:
    assert tool.generate(wheel)["unchecked"] == [
        "Nested.anything",
        "backend_kwargs['choices']: computed when vLLM starts",
        "converter strange()",
    ]


def test_a_source_that_it_cannot_follow_stops_it(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {**SOURCES, "vllm/engine/arg_utils.py": SOURCES["vllm/engine/arg_utils.py"].replace('["share"]', '["x"]')}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in changed.items():
            archive.writestr(name, text)
    with pytest.raises(SystemExit, match="is not a field"):
        tool.generate(wheel)


def test_check_tells_whether_the_data_are_current(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "arguments.json"

    def run(*options: str) -> int:
        monkeypatch.setattr("sys.argv", ["generate", str(wheel), "--output", str(output), *options])
        code: int = tool.main()
        return code

    assert run("--check") == 1
    assert run() == 0
    assert run("--check") == 0
    assert "up to date" in capsys.readouterr().out


def test_the_committed_data_are_of_the_pinned_release() -> None:
    data = json.loads(tool.OUTPUT.read_text(encoding="utf-8"))
    assert data["source"] == {
        "package": "vllm",
        "version": "0.19.1",
        "file": "vllm-0.19.1-cp38-abi3-manylinux_2_31_x86_64.whl",
    }
    assert len(data["arguments"]) > 200
    assert "deepep_low_latency" in data["arguments"]["--all2all-backend"]["choices"]
