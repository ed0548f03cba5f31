# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who signs in: a service account's key file, the judgement of its grants, and access tokens that a cluster checks.

A rehearsal cluster with the provider's parts trusts the key of its user ``cloud``: JSON web tokens signed with it are
access tokens there, too, until they end.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import time
import typing as t
import urllib.parse

import google.auth.crypt
import google.auth.jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://127.0.0.1:9444/identity"
AUDIENCE = "rehearsal"
GROUP = "operators"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

Json = dict[str, t.Any]


class Account:
    """A service account whose key file names the stand-in as its token service."""

    def __init__(self, project: str, token_uri: str) -> None:
        self.email = f"runner@{project}.iam.gserviceaccount.com"
        self.project = project
        self.token_uri = token_uri
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def write(self, path: pathlib.Path) -> None:
        private = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": self.email,
            "token_uri": self.token_uri,
        }
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file)

    def judge(self, body: str) -> str:
        """What is wrong with a request for a token (RFC 7523), or nothing."""
        fields = dict(urllib.parse.parse_qsl(body))
        if fields.get("grant_type") != BEARER:
            return f"unsupported grant_type {fields.get('grant_type')!r}"
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            claims = google.auth.jwt.decode(fields.get("assertion", ""), certs=public, audience=None)
        except ValueError as error:
            return f"Invalid JWT Signature: {error}"
        if claims.get("iss") != self.email:
            return f"Invalid grant: account not found: {claims.get('iss')!r}"
        return "" if claims.get("scope") else "Invalid OAuth scope"


class Cluster(t.NamedTuple):
    """What the kubeconfig of a rehearsal cluster's user ``cloud`` says."""

    server: str
    authority: str
    certificate: str
    key: str

    @classmethod
    def load(cls, path: pathlib.Path) -> Cluster:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        place, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        pems = (user["client-certificate-data"], user["client-key-data"])
        return cls(place["server"], place["certificate-authority-data"], *(decoded(pem) for pem in pems))

    @property
    def address(self) -> str:
        return str(urllib.parse.urlsplit(self.server).hostname)

    def token(self, email: str, seconds: float) -> str:
        """An access token, which the cluster's API server takes until its end."""
        now = time.time()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": email,
            "email": email,
            "groups": [GROUP],
            "iat": int(now),
            "exp": int(now + seconds),
            # Two tokens of one second differ, as Google's do.
            "jti": os.urandom(8).hex(),
        }
        signer = google.auth.crypt.ES256Signer.from_string(self.key)
        return google.auth.jwt.encode(signer, claims).decode()

    def kubeconfig(self, token: str, name: str) -> str:
        """A kubeconfig with a fixed token, as CoreWeave's console hands out."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": self.server, "certificate-authority-data": self.authority}}
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        return yaml.safe_dump(content)


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()
