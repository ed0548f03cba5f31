# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates say what they are asked for, and are renewed only when they do not."""

from __future__ import annotations

import datetime
import json

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_pki as pki

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(days=pki.VALID_DAYS - pki.RENEW_DAYS + 1)
ASKED = pki.Request("node", "system:node:n", "system:nodes", ("10.0.0.1",), ("n",))
CA = pki.make_ca("ca", NOW)
LEAF = pki.make_leaf(ASKED, CA, NOW)


@pytest.mark.parametrize(
    ("pair", "asked", "authority", "now", "reason"),
    [
        (LEAF, ASKED, CA, NOW, ""),
        (None, ASKED, CA, NOW, "missing or unreadable"),
        (LEAF, ASKED, pki.make_ca("ca", NOW), NOW, "signed by another authority"),
        (LEAF, ASKED, CA, LATER, "expires soon"),
        (LEAF, pki.Request("node", "other", "system:nodes", ("10.0.0.1",), ("n",)), CA, NOW, "other subject"),
        (LEAF, pki.Request("node", "system:node:n", "system:nodes", ("10.0.0.2",), ("n",)), CA, NOW, "other names"),
    ],
    ids=["good", "missing", "authority", "expiry", "subject", "names"],
)
def test_reason_to_renew(
    pair: pki.Pair | None, asked: pki.Request, authority: pki.Pair, now: datetime.datetime, reason: str
) -> None:
    assert pki.reason_to_renew(pair, asked, authority, now) == reason


def test_a_pair_survives_its_files() -> None:
    again = pki.load_pair(LEAF.key_pem(), LEAF.certificate_pem())
    assert again is not None
    assert pki.reason_to_renew(again, ASKED, CA, NOW) == ""


@pytest.mark.parametrize("content", [b"", b"half", LEAF.key_pem()[:60], CA.key_pem()])
def test_what_is_no_pair_is_not_loaded(content: bytes) -> None:
    assert pki.load_pair(content, LEAF.certificate_pem()) is None


@pytest.mark.parametrize("name", ["BasicConstraints", "KeyUsage"])
def test_the_authority_has_what_python_3_13_insists_on(name: str) -> None:
    extension = CA.certificate.extensions.get_extension_for_class(getattr(pki.x509, name))
    assert extension.critical


def test_a_kubeconfig_is_yaml_that_names_its_cluster() -> None:
    text = pki.kubeconfig("https://a:6443", "rehearsal-x", "u", b"ca", (b"key", b"crt"))
    content = json.loads(text)
    assert content["current-context"] == "rehearsal-x"
    assert content["clusters"][0]["cluster"]["server"] == "https://a:6443"
    assert content["users"][0]["user"]["client-key-data"] == "a2V5"
