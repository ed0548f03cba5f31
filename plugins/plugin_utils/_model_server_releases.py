# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images work with which load-balancing mode. Private to the collection; it may change at any time."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._image import parse_image

VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?![\d])")
Version = tuple[int, ...]


def version_of(text: str) -> Version | None:
    """The three numbers at the start of a tag; what follows says how the image was built."""
    match = VERSION.match(str(text))
    return tuple(int(part) for part in match.groups()) if match else None


def works(version: Version, release: t.Mapping[str, t.Any]) -> bool:
    broken = [(version_of(first), version_of(last)) for first, last in release.get("broken", ())]
    return version >= (version_of(release["since"]) or ()) and not any(
        (first or ()) <= version <= (last or ()) for first, last in broken
    )


def wanted(mode: str, releases: t.Mapping[str, t.Any]) -> str:
    """The images that the mode works with, in words."""
    words = []
    for name, modes in releases.items():
        if mode not in modes:
            continue
        without = [f" without v{first} to v{last}" for first, last in modes[mode].get("broken", ())]
        words.append(f"{name} since v{modes[mode]['since']}{''.join(without)}")
    return ", ".join(words)


def release_findings(
    subject: str, reference: str, mode: str, releases: t.Mapping[str, t.Any], refused: t.Collection[str] = ()
) -> list[Finding]:
    """Why this image does not work in this mode, or on the hardware that refuses images of that name."""
    try:
        image = parse_image(reference)
    except ValueError:
        return []  # The form is judged with the other values.
    name, version = image.repository.rpartition("/")[2], version_of(image.tag)
    release = releases.get(name, {}).get(mode)
    if name in refused:
        seen = f"{reference}: its NVSHMEM cannot address RoCE networks and fails with 'Unable to create ah'"
        return [Finding("IMAGE_UNFIT", "error", subject, seen, "Use an image of llm-d (llm-d #1679).")]
    if release is not None and version is not None and works(version, release):
        return []
    if name in releases and release is None:
        seen = f"{reference}: no release of {name} is known to work with wide_ep_load_balancing={mode}"
    elif version is None or name not in releases:
        seen = f"{reference}: neither its name nor its tag says which release it is"
    else:
        seen = f"{reference}: this release does not work with wide_ep_load_balancing={mode}"
    fix = (
        f"Use {wanted(mode, releases)}; a copy or a build of your own keeps that name and tag, a digest may follow "
        "(…:v0.8.1@sha256:…). Or change wide_ep_load_balancing."
    )
    return [Finding("IMAGE_UNFIT", "error", subject, seen, fix)]
