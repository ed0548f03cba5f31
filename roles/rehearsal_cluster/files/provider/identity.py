# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider's identity service as the API server sees it: OpenID discovery of the key that signs access tokens.

A cloud's API server takes the cloud's own access tokens. Here they are JSON web tokens, so that the API server itself
checks their signature and their end; whoever plays the cloud's API has the key.
"""

from __future__ import annotations

import base64
import ssl
import typing as t

ISSUER = "https://127.0.0.1:9444/identity"
DISCOVERY = "/identity/.well-known/openid-configuration"
KEYS = "/identity/keys"
# What precedes the point of a P-256 key in every certificate (RFC 5480): the algorithm, then an uncompressed point.
HEAD = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d03010703420004")

Data = dict[str, t.Any]


def point(certificate_pem: str) -> tuple[bytes, bytes]:
    """The coordinates of a certificate's key."""
    _before, found, rest = ssl.PEM_cert_to_DER_cert(certificate_pem).partition(HEAD)
    if not found or len(rest) < 64:
        raise ValueError("the certificate has no key on the curve P-256")
    return rest[:32], rest[32:64]


def text(number: bytes) -> str:
    return base64.urlsafe_b64encode(number).rstrip(b"=").decode()


def documents(certificate_pem: str) -> dict[str, Data]:
    """What is answered, by path."""
    x, y = point(certificate_pem)
    key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": text(x), "y": text(y)}
    discovery = {
        "issuer": ISSUER,
        "jwks_uri": ISSUER.replace("/identity", KEYS),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    return {DISCOVERY: discovery, KEYS: {"keys": [key]}}
