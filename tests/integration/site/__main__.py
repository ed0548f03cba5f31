# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one step: python tests/integration/site STEP."""

from __future__ import annotations

import subprocess
import sys

from harness import StepError
from steps import STEPS


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in STEPS:
        print(f"usage: python tests/integration/site {'|'.join(STEPS)}", file=sys.stderr)
        return 2
    step = STEPS[sys.argv[1]]
    print(f"{sys.argv[1]}: {(step.__doc__ or '').strip()}", flush=True)
    try:
        step()
    except (StepError, subprocess.CalledProcessError) as error:
        print(f"\n{sys.argv[1]} failed: {error}", file=sys.stderr)
        return 1
    print(f"\n{sys.argv[1]} passed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
