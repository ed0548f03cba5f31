# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Becomes the program that plays Google's API, and leaves its process id in its folder, by which it is ended."""

from __future__ import annotations

import os
import pathlib
import sys

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "tests" / "integration" / "gke" / "gke_standin"


def main(folder: str, kubeconfig: str) -> None:
    pathlib.Path(folder, "pid").write_text(str(os.getpid()), encoding="utf-8")
    options = ["--state", folder, "--kubeconfig", kubeconfig, "--seconds", "1"]
    os.execv(sys.executable, [sys.executable, str(PROGRAM), *options, "--gpu-pool-seconds", "15"])


if __name__ == "__main__":
    main(*sys.argv[1:])
