# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearse a provider's inventory: ``python tests/integration/rehearse --inventory inventories/gke``.

A rehearsal cluster is dressed as the provider and its cloud is played. Then the same site.yml runs, and the same
teardown.yml, after which neither the cloud nor the cluster may have anything left.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rehearsal import Rehearsal, RehearsalError, require


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rehearse", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--inventory", default="inventories/gke")
    parser.add_argument("--cluster", default="rehearsal", help="the name of the rehearsal cluster")
    parser.add_argument("--keep", action="store_true", help="end after the site, and keep the cluster")
    parser.add_argument("--token-seconds", type=float, default=3600, help="how long a credential is valid")
    parser.add_argument("--seconds", type=float, default=1, help="how long an operation of the cloud takes")
    parser.add_argument("--gpu-pool-seconds", type=float, default=20, help="how long the GPU pool's creation takes")
    parser.add_argument("arguments", nargs="*", help="for ansible-playbook, after --")
    return parser


def rehearse(given: argparse.Namespace) -> None:
    rehearsal = Rehearsal(given.inventory, given.cluster, given.token_seconds, given.seconds, given.gpu_pool_seconds)
    rehearsal.up()
    with rehearsal.cloud() as cloud:
        site = rehearsal.site(*given.arguments)
        print(f"\n{given.inventory}: the endpoint is verified after {site.seconds:.0f} s", flush=True)
        if given.keep:
            return
        gone = rehearsal.teardown(*given.arguments)
        print(f"\n{given.inventory}: taken down after {gone.seconds:.0f} s", flush=True)
        if cloud is not None:
            require(not cloud.left(), f"left in the cloud: {', '.join(cloud.left())}")
            cloud.check()
        if rehearsal.cluster_stays:
            require(not rehearsal.ours(), f"left in the cluster: {', '.join(rehearsal.ours())}")
    rehearsal.down()


def main() -> int:
    given = options().parse_args()
    try:
        rehearse(given)
    except RehearsalError as error:
        print(f"\nrehearsal of {given.inventory} failed: {error}", file=sys.stderr)
        return 1
    print(f"\nrehearsal of {given.inventory} passed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
