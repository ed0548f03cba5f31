# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian file systems and programs without root: apt resolves and verifies packages, dpkg-deb unpacks them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .cache import SUMS, Cache, digest, read_json, sha256_file, write_json
from .errors import BuildError, advice
from .layers import Layer, finish_system, normalize
from .process import run

SCHEMA = 3
DEFAULT_ARCHIVES = ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
_SHELL = ("base-files", "bash", "coreutils", "dash", "findutils", "grep", "gzip", "hostname", "mawk", "sed", "tar")


@dataclass(frozen=True)
class System:
    """A Debian file system: a suite and the packages asked for."""

    name: str
    suite: str
    packages: tuple[str, ...]
    seconds: int


SYSTEMS: tuple[System, ...] = (
    System(
        "rootfs",
        "trixie",
        (
            *_SHELL,
            "conntrack",
            "containerd",
            "containernetworking-plugins",
            "iproute2",
            "iptables",
            "iputils-ping",
            "kmod",
            "mount",
            "nftables",
            "procps",
            "python3",
            "runc",
            "supervisor",
            "util-linux",
        ),
        40,
    ),
    System(
        "base",
        # Its Python is 3.13; the load generator needs 3.12 or newer, and its wheels the C++ library.
        "trixie",
        (*_SHELL, "curl", "iproute2", "jq", "libstdc++6", "procps", "python3", "util-linux"),
        20,
    ),
)


@dataclass(frozen=True)
class Package:
    """Programs of one Debian package, by their names here: they run on the base file system and on the host."""

    name: str
    suite: str
    programs: tuple[tuple[str, str], ...]
    seconds: int


PACKAGES: tuple[Package, ...] = (
    Package("prometheus", "trixie", (("prometheus", "usr/bin/prometheus"),), 10),
    Package("promtool", "trixie", (("promtool", "usr/bin/promtool"),), 5),
)


def package(name: str) -> Package:
    """Return the package of that name."""
    return next(row for row in PACKAGES if row.name == name)


def system(name: str) -> System:
    """Return the file system of that name."""
    return next(row for row in SYSTEMS if row.name == name)


def key(row: System, architecture: str) -> str:
    """Hash what determines a file system; the mirror's package versions are recorded, not part of it."""
    return digest({"schema": SCHEMA, "architecture": architecture, "suite": row.suite, "packages": row.packages})


def folder(cache: Cache, row: System, architecture: str) -> Path:
    """Return the folder of a file system's tar."""
    return cache.path("layers", f"{row.name}-{key(row, architecture)[:16]}")


def broken(path: Path, name: str) -> str:
    """Say why a cached tar cannot be used; empty if it can."""
    recorded = read_json(path / SUMS)
    tar = path / f"{name}.tar"
    if not isinstance(recorded, dict) or not tar.exists():
        return "not built yet"
    return "" if sha256_file(tar) == recorded.get("sha256") else "its checksum is not the recorded one"


def package_folder(cache: Cache, row: Package, architecture: str) -> Path:
    """Return the folder of a package's programs."""
    inputs = {"schema": SCHEMA, "architecture": architecture, "suite": row.suite, "programs": row.programs}
    return cache.path("bin", f"{row.name}-{digest(inputs)[:16]}")


def package_record(path: Path) -> tuple[str, dict[str, str]]:
    """Return the recorded version and checksums of a package's programs."""
    recorded = read_json(path / SUMS)
    return (recorded["version"], recorded["programs"]) if isinstance(recorded, dict) else ("", {})


def package_broken(path: Path) -> str:
    """Say why cached programs of a package cannot be used; empty if they can."""
    _version, wanted = package_record(path)
    if not wanted or not all((path / name).exists() for name in wanted):
        return "not built yet"
    changed = [name for name, value in wanted.items() if sha256_file(path / name) != value]
    return f"{changed[0]}: its checksum is not the recorded one" if changed else ""


def archives(listing: str) -> tuple[str, str]:
    """Read the machine's Debian mirror and security mirror from `apt-get indextargets`."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        label, _bar, uri = line.partition("|")
        if uri.startswith(("http://", "https://", "mirror", "file:")):
            found.setdefault(label, uri.rstrip("/"))
    return found.get("Debian", DEFAULT_ARCHIVES[0]), found.get("Debian-Security", DEFAULT_ARCHIVES[1])


def sources(suite: str, main: str, security: str, keyring: str) -> str:
    """Render the private sources of a suite."""
    rows = ((main, f"{suite} {suite}-updates"), (security, f"{suite}-security"))
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {keyring}\n" for uri, suites in rows
    )


def configuration(root: Path, architecture: str) -> str:
    """Render an apt configuration that touches nothing outside a folder and ignores what is installed."""
    return "\n".join(
        (
            f'Dir::State "{root}/state";',
            f'Dir::State::status "{root}/status";',
            f'Dir::Cache "{root}/cache";',
            f'Dir::Log "{root}";',
            f'Dir::Etc::sourcelist "{root}/private.sources";',
            'Dir::Etc::sourceparts "/dev/null";',
            'Dir::Etc::preferences "/dev/null";',
            'Dir::Etc::preferencesparts "/dev/null";',
            f'APT::Architecture "{architecture}";',
            "#clear APT::Architectures;",
            f'APT::Architectures {{ "{architecture}"; }};',
            'APT::Install-Recommends "0";',
            'APT::Install-Suggests "0";',
            f'APT::Sandbox::User "{"root" if os.geteuid() == 0 else ""}";',
            "#clear APT::Update::Pre-Invoke;",
            "#clear APT::Update::Post-Invoke;",
            "#clear APT::Update::Post-Invoke-Success;",
            "#clear DPkg::Pre-Invoke;",
            "#clear DPkg::Post-Invoke;",
            "#clear DPkg::Pre-Install-Pkgs;",
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            "#clear Acquire::IndexTargets::deb::DEP-11;",
            'Debug::NoLocking "1";',
            "",
        )
    )


def need_tools(env: Mapping[str, str]) -> str:
    """Return the keyring, or say what this machine lacks."""
    missing = [tool for tool in ("apt-get", "dpkg-deb", "gpgv") if not shutil.which(tool, path=env.get("PATH"))]
    if missing:
        raise BuildError(
            f"The sandbox's file system is made of Debian packages, and {', '.join(missing)} is not on this machine.",
            "use a Debian machine, or install the packages apt, dpkg and gpgv.",
        )
    keyring = next((path for path in KEYRINGS if Path(path).exists()), None)
    if not keyring:
        raise BuildError(
            f"Debian's archive keys are not on this machine ({KEYRINGS[0]}).",
            "install the package debian-archive-keyring.",
        )
    return keyring


class Apt:
    """apt with private folders, for one suite."""

    def __init__(self, root: Path, suite: str, architecture: str, env: Mapping[str, str]) -> None:
        self.root = root
        self.env = {**env, "APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C.UTF-8"}
        keyring = need_tools(env)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        listing = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Identifier: Packages"],
            check=False,
            env=dict(env),
            capture_output=True,
            text=True,
        )
        main, security = archives(listing.stdout)
        (root / "private.sources").write_text(sources(suite, main, security, keyring))
        (root / "apt.conf").write_text(configuration(root, architecture))

    def update(self, tick: Callable[[], None]) -> None:
        """Fetch and verify the package lists."""
        # Since 2.1 apt-get update ends 0 when a list could not be fetched; any error must stop.
        run(["apt-get", "-o", "APT::Update::Error-Mode=any", "update"], env=self.env, tick=tick)

    def download(self, packages: tuple[str, ...], tick: Callable[[], None]) -> list[Path]:
        """Download and verify packages with all they need; return the files, sorted by name."""
        archives_folder = self.root / "cache/archives"
        for old in archives_folder.glob("*.deb"):
            old.unlink()
        run(["apt-get", "--yes", "--download-only", "install", *packages], env=self.env, tick=tick)
        return sorted(archives_folder.glob("*.deb"))

    def download_one(self, package: str, tick: Callable[[], None]) -> Path:
        """Download and verify a package without what it needs."""
        folder = Path(self.root / package)
        folder.mkdir()
        run(["apt-get", "download", package], env=self.env, cwd=folder, tick=tick)
        return next(folder.glob("*.deb"))


def package_versions(debs: list[Path]) -> dict[str, str]:
    """Read names and versions from the files' names (apt writes a colon of a version as %3a)."""
    pairs = (re.match(r"([^_]+)_([^_]+)_", deb.name) for deb in debs)
    return {m[1]: m[2].replace("%3a", ":") for m in pairs if m}


def merge(debs: list[Path], target: Path, tick: Callable[[], None]) -> None:
    """Unpack packages into one tar, without running any maintainer script."""
    with Layer(target) as layer:
        for deb in debs:
            tick()
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                layer.add_archive(process.stdout)
                process.stdout.read()
            if process.returncode != 0:
                raise BuildError(f"dpkg-deb cannot unpack {deb.name}.", advice(""))
        finish_system(layer)


def make(row: System, apt: Apt, target: Path, tick: Callable[[], None]) -> None:
    """Write a file system's tar and its record into a folder."""
    debs = apt.download(row.packages, tick)
    tar = target / f"{row.name}.tar"
    merge(debs, tar, tick)
    record = {"sha256": sha256_file(tar), "suite": row.suite, "packages": package_versions(debs)}
    write_json(target / SUMS, record)


def make_programs(row: Package, apt: Apt, target: Path, tick: Callable[[], None]) -> None:
    """Write a package's programs and their record into a folder."""
    deb = apt.download_one(row.name, tick)
    members = {path: name for name, path in row.programs}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as source:
            for info in source:
                tick()
                content = source.extractfile(info) if info.isreg() else None
                if content and (name := members.get(normalize(info.name))):
                    with (target / name).open("wb") as stream:
                        shutil.copyfileobj(content, stream)
                    (target / name).chmod(0o755)
        process.stdout.read()
    sums = {name: sha256_file(target / name) for name, _path in row.programs if (target / name).exists()}
    if process.returncode != 0 or len(sums) != len(row.programs):
        raise BuildError(f"{deb.name} does not have {', '.join(path for _name, path in row.programs)}.", advice(""))
    write_json(target / SUMS, {"programs": sums, "version": package_versions([deb])[row.name]})
