# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of ansible: only its forked workers end without exit handlers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[4]
INLINE = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "clusters": [
        {
            "name": "c",
            "cluster": {
                "server": "https://127.0.0.1:1",
                "certificate-authority-data": base64.b64encode(b"canary-authority").decode(),
            },
        }
    ],
    "users": [{"name": "u", "user": {"client-key-data": base64.b64encode(b"canary-key").decode()}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
}


def test_an_action_leaves_no_key_behind(tmp_path: Path) -> None:
    kubeconfig, left = tmp_path / "config", tmp_path / "left"
    kubeconfig.write_text(yaml.safe_dump(INLINE))
    left.mkdir()
    arguments = json.dumps({"kubeconfig": str(kubeconfig), "queries": {"pods": {"api_version": "v1", "kind": "Pod"}}})
    run = subprocess.run(
        [str(Path(sys.executable).parent / "ansible"), "localhost", "-m", "llmd.wide_ep.object_info", "-a", arguments],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_HOME": str(left),
            "TMPDIR": str(left),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "127.0.0.1:1" in run.stdout, run.stderr
    assert [path for path in left.rglob("*") if path.is_file() and b"canary" in path.read_bytes()] == []
