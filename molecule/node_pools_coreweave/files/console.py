# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands out a kubeconfig as CoreWeave's console does, and lets the nodes follow the NodePools, or ends that.

``console.py open|close FOLDER KUBECONFIG [SECONDS]``
"""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "integration" / "gke"), str(ROOT / ".ansible" / "collections")]

from gke_standin.bridge import Bridge
from gke_standin.cloud import Cloud
from gke_standin.identity import Cluster


def main(what: str, folder: str, kubeconfig: str, seconds: str = "86400") -> None:
    bridge = Bridge(Cloud(), pathlib.Path(kubeconfig))
    if what == "close":
        bridge.forget()
        return
    cluster = Cluster.load(pathlib.Path(kubeconfig))
    path = pathlib.Path(folder, "coreweave.kubeconfig")
    path.touch(mode=0o600)
    path.write_text(
        cluster.kubeconfig(cluster.token("user@example.com", float(seconds)), "coreweave"), encoding="utf-8"
    )
    bridge.tell({})


if __name__ == "__main__":
    main(*sys.argv[1:])
