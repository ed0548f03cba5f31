# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from builder.layers import Entry, Layer, alternatives, dropped, finish_system, normalize


def archive(*members: tuple[str, dict[str, object], bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, settings, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.uname = info.gname = "builder"
            for key, value in settings.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    stream.seek(0)
    return stream


def names(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {info.name: info for info in tar}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./", ""),
        ("./bin/mount", "usr/bin/mount"),
        ("./sbin", "usr/sbin"),
        ("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("./usr/bin/", "usr/bin"),
        ("./library/x", "library/x"),
        ("./etc/lib/x", "etc/lib/x"),
    ],
)
def test_normalize(name: str, expected: str) -> None:
    assert normalize(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("usr/share/doc/bash/copyright", True),
        ("usr/share/man/man1/bash.1.gz", True),
        ("usr/share/locale/de/LC_MESSAGES/x.mo", True),
        ("usr/share/doc", False),
        ("usr/share/zoneinfo/UTC", False),
        ("usr/lib/python3.13/json/tool.py", False),
        ("etc/nsswitch.conf", False),
    ],
)
def test_dropped(name: str, expected: bool) -> None:
    assert dropped(name) is expected


def test_merge_keeps_owners_modes_and_links(tmp_path: Path) -> None:
    first = archive(
        ("./usr", {"type": tarfile.DIRTYPE, "mode": 0o755}, b""),
        ("./bin/su", {"mode": 0o4755, "mtime": 1234}, b"su"),
        ("./bin/su2", {"type": tarfile.LNKTYPE, "linkname": "./bin/su"}, b""),
        ("./usr/bin/sh", {"type": tarfile.SYMTYPE, "linkname": "dash"}, b""),
        ("./var/log/btmp", {"mode": 0o660, "uid": 0, "gid": 43}, b""),
        ("./usr/share/doc/x/copyright", {}, b"dropped"),
    )
    second = archive(
        ("./usr", {"type": tarfile.DIRTYPE, "mode": 0o700}, b""),
        ("./usr/bin/other", {"mode": 0o755}, b"other"),
    )
    target = tmp_path / "x.tar"
    with Layer(target) as layer:
        layer.add_archive(first)
        layer.add_archive(second)
    found = names(target)
    assert list(found) == ["usr", "usr/bin/su", "usr/bin/su2", "usr/bin/sh", "var/log/btmp", "usr/bin/other"]
    assert found["usr"].mode == 0o755
    assert found["usr/bin/su"].mode == 0o4755
    assert found["usr/bin/su"].mtime == 1234
    assert found["usr/bin/su2"].islnk()
    assert found["usr/bin/su2"].linkname == "usr/bin/su"
    assert found["usr/bin/sh"].issym()
    assert found["usr/bin/sh"].linkname == "dash"
    assert (found["var/log/btmp"].gid, found["var/log/btmp"].mode) == (43, 0o660)
    assert {info.uname for info in found.values()} == {""}
    with tarfile.open(target) as tar:
        content = tar.extractfile("usr/bin/su2")
        assert content is not None
        assert content.read() == b"su"


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o700)
    (source / "data").write_text("{}")
    (source / "data").chmod(0o600)
    contents = []
    for number in range(2):
        os.utime(source / "data", (number, number))
        with Layer(tmp_path / f"{number}.tar") as layer:
            layer.add_tree("opt/vllm", source)
            layer.add(Entry("usr/local/bin/vllm", link="/opt/vllm/tool"))
        contents.append((tmp_path / f"{number}.tar").read_bytes())
    assert contents[0] == contents[1]
    found = names(tmp_path / "0.tar")
    assert list(found) == ["opt", "opt/vllm", "opt/vllm/data", "opt/vllm/tool", "usr/local/bin/vllm"]
    assert (found["opt/vllm/data"].mode, found["opt/vllm/tool"].mode) == (0o644, 0o755)
    assert (found["opt/vllm/tool"].uid, found["opt/vllm/tool"].gid) == (0, 0)


def test_finished_system_has_what_maintainer_scripts_would_make(tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    with Layer(target) as layer:
        layer.add_archive(archive(("./usr/sbin/iptables-nft", {}, b""), ("./usr/bin/dash", {}, b"")))
        finish_system(layer)
    found = names(target)
    assert found["bin"].linkname == "usr/bin"
    assert found["usr/sbin/iptables"].linkname == "iptables-nft"
    assert found["usr/bin/sh"].linkname == "dash"
    assert "usr/sbin/ip6tables" not in found
    assert found["tmp"].mode == 0o1777
    assert {"etc/passwd", "etc/group", "etc/nsswitch.conf", "proc", "sys", "run"} <= set(found)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], {}),
        (["usr/bin/mawk"], {"usr/bin/awk": "mawk"}),
        (["usr/bin/mawk", "usr/bin/awk"], {}),
        (["usr/sbin/ip6tables-nft-save"], {"usr/sbin/ip6tables-save": "ip6tables-nft-save"}),
    ],
)
def test_alternatives(present: list[str], expected: dict[str, str]) -> None:
    assert alternatives(present) == expected
