# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of an image reference. Private to the collection; it may change at any time.

Grammar: https://github.com/distribution/reference/blob/v0.6.0/reference.go
"""

from __future__ import annotations

import dataclasses
import re

REFERENCE = re.compile(
    r"(?P<registry>[A-Za-z0-9.-]+(?::\d+)?)/(?P<repository>[a-z0-9._/-]+?)(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclasses.dataclass(frozen=True)
class Image:
    registry: str
    repository: str
    tag: str
    digest: str

    def as_chart_values(self) -> dict[str, str]:
        """``registry/repository:tag``, glued by a chart, is this reference; a digest is split at its colon."""
        if not self.digest:
            return {"registry": self.registry, "repository": self.repository, "tag": self.tag}
        algorithm, _colon, value = self.digest.partition(":")
        return {"registry": self.registry, "repository": f"{self.repository}@{algorithm}", "tag": value}


def parse_image(reference: str) -> Image:
    """A full reference: with its registry, and with a tag or a digest, so that it never moves."""
    match = REFERENCE.fullmatch(reference)
    if match is None or not (match["tag"] or match["digest"]):
        raise ValueError(
            f"{reference!r} is no full image reference; write it as registry/repository:tag or …@sha256:<64 hex digits>"
        )
    return Image(match["registry"], match["repository"], match["tag"] or "", match["digest"] or "")
