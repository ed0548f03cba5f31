# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from builder import cli, debian, engine, families, gotool, programs, scenarios
from builder.cache import Cache, read_json, sha256_file, write_json
from builder.debian import Package
from builder.engine import Engine
from builder.errors import BuildError
from builder.families import Family, Program
from builder.scenarios import Scenario

HAS_GO = gotool.find(os.environ).program is not None
needs_go = pytest.mark.skipif(not HAS_GO, reason="no Go toolchain on PATH that is new enough")
MAIN = 'package main\n\nvar version = "none"\n\nfunc main() { println("%s", version) }\n'
TINY = Family(
    "tiny",
    "v1.0.0",
    (),
    (Program("one", "rehearsal/tiny/one", 1), Program("two", "rehearsal/tiny/two", 1)),
    (("main.version", "v1.0.0"),),
)
OTHER = Family("other", "v2.0.0", (), (Program("three", "rehearsal/other", 1),))
SCENARIO = Scenario("tiny", ("tiny", "other"), (), (), (), ())
ONLY_PROGRAMS = frozenset({"programs"})


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "workspace"
    for name, mains in (("tiny", ("one", "two")), ("other", (".",))):
        (folder / name).mkdir(parents=True)
        (folder / name / "go.mod").write_text(f"module rehearsal/{name}\n\ngo {families.GO_LANGUAGE}\n")
        (folder / name / "modules.lock").write_text(f"rehearsal/{name}\n")
        for main in mains:
            (folder / name / main).mkdir(exist_ok=True)
            (folder / name / main / "main.go").write_text(MAIN % main)
    (folder / "go.work").write_text(f"go {families.GO_LANGUAGE}\n\nuse (\n\t./tiny\n\t./other\n)\n")
    monkeypatch.setattr(programs, "WORKSPACE", folder)
    monkeypatch.setattr(programs.family_key, "__defaults__", (folder,))
    monkeypatch.setattr(families, "FAMILIES", (TINY, OTHER))
    monkeypatch.setattr(scenarios, "SCENARIOS", (SCENARIO,))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def ensure(cache: Cache) -> tuple[dict[str, dict[str, str]], str]:
    stream = io.StringIO()
    manifest = Engine(cache, os.environ, stream).ensure(SCENARIO, ONLY_PROGRAMS)
    return manifest["programs"], stream.getvalue()


def says(path: str) -> str:
    return subprocess.run([path], check=True, capture_output=True, text=True).stderr.strip()


def key(row: Family, folder: Path, go: str = "go1.26.8", architecture: str = "amd64") -> str:
    return programs.family_key(row, go, architecture, folder)


def test_key_changes_with_every_input(workspace: Path) -> None:
    seen = [key(TINY, workspace)]
    seen += [key(TINY, workspace, go="go1.26.9"), key(TINY, workspace, architecture="arm64")]
    seen += [key(replace(TINY, stamps=(("main.version", "v1.0.1"),)), workspace)]
    seen += [key(replace(TINY, programs=TINY.programs[:1]), workspace)]
    for name in ("go.mod", "modules.lock", "one/main.go"):
        path = workspace / "tiny" / name
        path.write_text(path.read_text() + "\n")
        seen.append(key(TINY, workspace))
    assert len(set(seen)) == len(seen)


def test_key_does_not_change_with_what_does_not_matter(workspace: Path) -> None:
    before = key(TINY, workspace)
    seconds = tuple(replace(program, seconds=99) for program in TINY.programs)
    (workspace / "go.work").write_text("go 1.26.6\n")
    (workspace / "other/modules.lock").write_text("changed\n")
    (workspace / "tiny/one/notes.txt").write_text("x")
    assert key(replace(TINY, programs=seconds), workspace) == before


def test_key_without_a_lock_says_what_to_run(workspace: Path) -> None:
    (workspace / "tiny/modules.lock").unlink()
    with pytest.raises(BuildError, match=r"no tiny/modules\.lock") as caught:
        key(TINY, workspace)
    assert "generate.py" in caught.value.fix


@needs_go
def test_build_stamps_records_and_is_not_repeated(workspace: Path, cache: Cache) -> None:
    made, text = ensure(cache)
    assert "0 of 3 programs cached, 3 tasks to do" in text
    assert {name: says(row["path"]) for name, row in made.items()} == {
        "one": "one v1.0.0",
        "two": "two v1.0.0",
        "three": ". none",
    }
    again, text = ensure(cache)
    assert again == made
    assert "complete, nothing to build" in text
    assert list(cache.path("tmp").iterdir()) == []
    assert sorted(path.name for path in workspace.iterdir()) == ["go.work", "other", "tiny"]


@needs_go
def test_corrupted_program_is_built_again_and_only_that(workspace: Path, cache: Cache) -> None:
    made, _text = ensure(cache)
    paths = {name: Path(row["path"]) for name, row in made.items()}
    inodes = {name: path.stat().st_ino for name, path in paths.items()}
    before = paths["two"].stat()
    content = bytearray(paths["two"].read_bytes())
    content[len(content) // 2] ^= 0xFF
    paths["two"].write_bytes(content)
    os.utime(paths["two"], ns=(before.st_atime_ns, before.st_mtime_ns))
    again, text = ensure(cache)
    assert "two: its checksum is not the recorded one: built again" in text
    assert "1 tasks to do" in text
    assert again == made
    assert says(again["two"]["path"]) == "two v1.0.0"
    assert {name for name, path in paths.items() if path.stat().st_ino != inodes[name]} == {"two"}


@needs_go
def test_changed_family_rebuilds_only_itself(workspace: Path, cache: Cache) -> None:
    made, _text = ensure(cache)
    main = workspace / "other/main.go"
    main.write_text(main.read_text().replace('"none"', '"changed"'))
    again, text = ensure(cache)
    assert "2 of 3 programs cached, 1 tasks to do" in text
    assert says(again["three"]["path"]) == ". changed"
    assert again["one"] == made["one"]
    assert Path(made["three"]["path"]).exists()


@needs_go
@pytest.mark.parametrize(("program", "kept"), [("one", []), ("two", ["one", "sums.json"])])
def test_error_shows_its_lines_and_keeps_only_what_is_finished(
    workspace: Path, cache: Cache, program: str, kept: list[str]
) -> None:
    main = workspace / "tiny" / program / "main.go"
    right = main.read_text()
    main.write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(BuildError) as caught:
        ensure(cache)
    assert "undefined: undefined" in caught.value.evidence
    assert list(cache.path("tmp").iterdir()) == []
    assert sorted(path.name for path in cache.path("bin").rglob("*") if path.is_file()) == kept
    main.write_text(right)
    _made, text = ensure(cache)
    assert "0 of 3 programs cached" in text


@needs_go
def test_other_modules_than_locked_are_refused(workspace: Path, cache: Cache) -> None:
    (workspace / "tiny/modules.lock").write_text("rehearsal/tiny\nexample.org/x v1.0.0 h1:x=\n")
    with pytest.raises(BuildError, match=r"does not select the modules that tiny/modules.lock names") as caught:
        ensure(cache)
    assert "- example.org/x v1.0.0" in caught.value.evidence


@needs_go
def test_family_alone_needs_no_workspace(workspace: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "go.work").unlink()
    with pytest.raises(BuildError):
        ensure(cache)
    rows = tuple(replace(row, alone=True) for row in (TINY, OTHER))
    monkeypatch.setattr(families, "FAMILIES", rows)
    made, _text = ensure(cache)
    assert says(made["one"]["path"]) == "one v1.0.0"
    assert key(rows[0], workspace) != key(TINY, workspace)
    (workspace / "tiny/modules.lock").write_text("rehearsal/tiny\nexample.org/x v1.0.0 h1:x=\n")
    with pytest.raises(BuildError, match=r"does not select the modules that tiny/modules.lock names"):
        ensure(cache)


@needs_go
def test_users_build_settings_do_not_count(workspace: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _text = ensure(cache)
    for name, value in (("GOFLAGS", "-tags=x -ldflags=-X=main.version=mine"), ("GOOS", "plan9"), ("CGO_ENABLED", "1")):
        monkeypatch.setenv(name, value)
    other = Cache(cache.folder.parent / "second")
    again, _text = ensure(other)
    assert {name: row["sha256"] for name, row in again.items()} == {name: row["sha256"] for name, row in made.items()}


def test_programs_of_debian_packages_are_part_of_what_is_needed(
    cache: Cache, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(row: Package, _apt: object, target: Path, _tick: object) -> None:
        (target / "tool").write_text("tool")
        write_json(target / "sums.json", {"version": "1.0-1", "programs": {"tool": sha256_file(target / "tool")}})

    apts: list[str] = []

    class Apt:
        def __init__(self, _root: Path, suite: str, *_rest: object) -> None:
            apts.append(suite)

        def update(self, _tick: object) -> None:
            pass

    packages = (Package("tool", "trixie", (("tool", "usr/bin/tool"),), 1), Package("again", "trixie", (), 1))
    monkeypatch.setattr(debian, "PACKAGES", packages)
    monkeypatch.setattr(debian, "make_programs", make)
    monkeypatch.setattr(debian, "Apt", Apt)
    wanted = engine.target(replace(SCENARIO, families=(), packages=("tool", "again")), cache, os.environ)
    lacking = engine.missing(wanted, cache, frozenset({"systems"}))
    assert lacking.lines() == ["tool of Debian: not built yet", "again of Debian: not built yet"]
    cache.prepare()
    Engine(cache, os.environ, io.StringIO()).build(wanted, lacking)
    # One list of packages serves all that come from a suite.
    assert apts == ["trixie"]
    assert not engine.missing(wanted, cache, frozenset({"systems"}))
    made = engine.make_manifest(wanted, cache, frozenset({"programs"}))["programs"]["tool"]
    assert (made["version"], Path(made["path"]).read_text()) == ("1.0-1", "tool")


@needs_go
def test_check_names_what_is_missing(
    workspace: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_manifest, missing = engine.make_manifest, engine.missing
    monkeypatch.setattr(
        engine, "make_manifest", lambda wanted, cache, *_parts: make_manifest(wanted, cache, ONLY_PROGRAMS)
    )
    monkeypatch.setattr(engine, "missing", lambda wanted, cache, *_parts: missing(wanted, cache, ONLY_PROGRAMS))
    monkeypatch.setenv("LLMD_WIDE_EP_CACHE", str(cache.folder))
    assert cli.main(["check", "--scenario", "tiny"]) == 1
    assert "one: not built yet" in capsys.readouterr().out
    assert not cache.folder.exists()
    assert cli.main(["binaries", "--scenario", "tiny"]) == 0
    capsys.readouterr()
    assert cli.main(["check", "--scenario", "tiny"]) == 1
    assert "manifests/tiny.json: missing or outdated" in capsys.readouterr().out
    manifest = engine.make_manifest(engine.target(SCENARIO, cache, os.environ), cache)
    Engine(cache, os.environ, io.StringIO()).publish(SCENARIO, manifest)
    assert read_json(cache.path("manifests/tiny.json"))["programs"].keys() == {"one", "two", "three"}
    assert cli.main(["check", "--scenario", "tiny"]) == 0
