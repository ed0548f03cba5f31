# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer tars: many packages' file systems merged into one, in a fixed order, with owners, modes and links kept."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# Time stamps of what the builder itself writes: a layer must depend on its inputs only.
EPOCH = 0
_MERGED = re.compile(r"^(bin|sbin|lib|lib32|lib64|libx32)(?=/|$)")
_DROPPED = re.compile(
    r"^usr/share/(doc|man|info|locale|lintian|bug|doc-base|gnome|help|linda|menu|pixmaps|applications|icons)/."
    r"|^usr/share/bash-completion/."
    r"|^usr/lib/python3/dist-packages/.*/tests/."
    r"|^etc/cron|^etc/init\.d/|^usr/lib/systemd/."
)
MERGED_LINKS = ("bin", "sbin", "lib", "lib64")


@dataclass(frozen=True)
class Entry:
    """A file, folder or link that no package ships."""

    path: str
    mode: int = 0o644
    content: bytes | None = None
    link: str = ""
    uid: int = 0
    gid: int = 0


def normalize(name: str) -> str:
    """Give a member its place in a merged-/usr system, without a leading `./`."""
    return _MERGED.sub(r"usr/\1", name.removeprefix(".").strip("/"))


def dropped(name: str) -> bool:
    """Tell documentation, translations and what only a running init would use."""
    return bool(_DROPPED.match(name))


class Layer:
    """A tar that is written member by member; the first of equal names wins."""

    def __init__(self, path: Path) -> None:
        self.tar = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self.names: set[str] = set()

    def __enter__(self) -> Layer:
        """Use as a context."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the tar."""
        self.tar.close()

    def _add(self, info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        if info.name in self.names:
            return
        self.names.add(info.name)
        # By number only: names would be looked up on the machine that unpacks.
        info.uname = info.gname = ""
        info.pax_headers = {}
        self.tar.addfile(info, content)

    def add_archive(self, stream: IO[bytes]) -> None:
        """Merge a package's file system."""
        with tarfile.open(fileobj=stream, mode="r|") as source:
            for info in source:
                name = normalize(info.name)
                if not name or dropped(name):
                    continue
                if info.islnk():
                    info.linkname = normalize(info.linkname)
                info.name = name
                self._add(info, source.extractfile(info) if info.isreg() else None)

    def add(self, entry: Entry) -> None:
        """Add what no package ships."""
        info = tarfile.TarInfo(entry.path)
        info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, EPOCH
        if entry.link:
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
            self._add(info, None)
        elif entry.content is None:
            info.type = tarfile.DIRTYPE
            self._add(info, None)
        else:
            info.size = len(entry.content)
            self._add(info, io.BytesIO(entry.content))

    def add_file(self, path: str, source: Path, mode: int = 0o755) -> None:
        """Add a file of this machine, owned by root."""
        info = tarfile.TarInfo(path)
        info.mode, info.size, info.mtime = mode, source.stat().st_size, EPOCH
        with source.open("rb") as stream:
            self._add(info, stream)

    def add_parents(self, path: str) -> None:
        """Add the folders above a path."""
        for parent in reversed(Path(path).parents):
            if parent.as_posix() != ".":
                self.add(Entry(parent.as_posix(), 0o755))

    def add_tree(self, path: str, source: Path) -> None:
        """Add a folder of this machine, owned by root, modes reduced to executable or not."""
        self.add_parents(path + "/x")
        for item in sorted(source.rglob("*")):
            relative = item.relative_to(source)
            if "__pycache__" in relative.parts:
                continue
            name = f"{path}/{relative.as_posix()}"
            if item.is_symlink():
                self.add(Entry(name, link=item.readlink().as_posix()))
            elif item.is_dir():
                self.add(Entry(name, 0o755))
            else:
                self.add_file(name, item, 0o755 if item.stat().st_mode & 0o100 else 0o644)


PASSWD = (
    "root:x:0:0:root:/root:/bin/bash\n"
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "nonroot:x:65532:65532:nonroot:/tmp:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)
GROUP = (
    "root:x:0:\ndaemon:x:1:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nshadow:x:42:\nutmp:x:43:\nstaff:x:50:\n"
    "nonroot:x:65532:\nnogroup:x:65534:\n"
)
NSSWITCH = (
    "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
    "protocols: files\nservices: files\nethers: files\nrpc: files\n"
)
_IPTABLES = tuple(f"{tool}{verb}" for tool in ("iptables", "ip6tables") for verb in ("", "-save", "-restore"))


def alternatives(present: Iterable[str]) -> Mapping[str, str]:
    """Choose the links that maintainer scripts would make with update-alternatives, for what is there."""
    wanted = {f"usr/sbin/{name}": name.replace("tables", "tables-nft", 1) for name in _IPTABLES}
    wanted |= {"usr/bin/awk": "mawk", "usr/bin/sh": "dash", "usr/bin/which": "which.debianutils"}
    names = set(present)
    return {
        link: target
        for link, target in wanted.items()
        if link not in names and f"{Path(link).parent.as_posix()}/{target}" in names
    }


def finish_system(layer: Layer) -> None:
    """Add what Debian's maintainer scripts would create."""
    for name in MERGED_LINKS:
        layer.add(Entry(name, link=f"usr/{name}"))
    for path, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("run", 0o755), ("proc", 0o755), ("sys", 0o755)):
        layer.add(Entry(path, mode))
    for path, content in (
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/nsswitch.conf", NSSWITCH),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("etc/resolv.conf", ""),
        ("etc/hostname", "localhost\n"),
    ):
        layer.add(Entry(path, content=content.encode()))
    layer.add(Entry("etc/shadow", 0o640, b"root:*:1:0:99999:7:::\n", gid=42))
    for link, target in sorted(alternatives(layer.names).items()):
        layer.add(Entry(link, link=target))
