# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of the rehearsal cluster. Private to the collection; it may change at any time."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import ipaddress
import json
import pathlib
import traceback
import typing as t

CRYPTOGRAPHY_IMPORT_ERROR: str | None = None
try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR = traceback.format_exc()

VALID_DAYS = 3650
RENEW_DAYS = 30


@dataclasses.dataclass(frozen=True)
class Request:
    """What a certificate is to say."""

    name: str
    common_name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pair:
    """A private key and its certificate."""

    key: t.Any
    certificate: t.Any

    def key_pem(self) -> bytes:
        return private_pem(self.key)

    def certificate_pem(self) -> bytes:
        pem: bytes = self.certificate.public_bytes(serialization.Encoding.PEM)
        return pem


def new_key() -> t.Any:
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: t.Any) -> bytes:
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def public_pem(key: t.Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def load_key(content: bytes) -> t.Any | None:
    try:
        return serialization.load_pem_private_key(content, None)
    except ValueError:
        return None


def load_pair(key: bytes, certificate: bytes) -> Pair | None:
    """None for anything that does not read as a pair, an interrupted write for example."""
    private = load_key(key)
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return None
    if private is None or private.public_key() != parsed.public_key():
        return None
    return Pair(private, parsed)


def _name(common_name: str, organization: str) -> t.Any:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _builder(subject: t.Any, issuer: t.Any, key: t.Any, now: datetime.datetime) -> t.Any:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of virtual machines step back now and then.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(**set_usages: bool) -> t.Any:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: set_usages.get(name, False) for name in names})


def make_ca(common_name: str, now: datetime.datetime) -> Pair:
    """Python 3.13 refuses a CA without a critical key usage, so both extensions are there and critical."""
    key = new_key()
    name = _name(common_name, "")
    builder = _builder(name, name, key, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True, digital_signature=True), critical=True)
    return Pair(key, builder.sign(key, hashes.SHA256()))


def _alternatives(request: Request) -> list[t.Any]:
    names = [x509.DNSName(host) for host in request.hosts]
    return [*names, *(x509.IPAddress(ipaddress.ip_address(address)) for address in request.addresses)]


def make_leaf(request: Request, authority: Pair, now: datetime.datetime) -> Pair:
    key = new_key()
    builder = _builder(_name(request.common_name, request.organization), authority.certificate.subject, key, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if names := _alternatives(request):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(key, builder.sign(authority.key, hashes.SHA256()))


def _names_of(certificate: t.Any) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in extension.value}


def expires_soon(pair: Pair, now: datetime.datetime) -> bool:
    end: datetime.datetime = pair.certificate.not_valid_after_utc
    return end - now < datetime.timedelta(days=RENEW_DAYS)


def reason_to_renew(pair: Pair | None, request: Request, authority: Pair, now: datetime.datetime) -> str:
    """Empty when the certificate still says what is asked for."""
    if pair is None:
        return "missing or unreadable"
    try:
        pair.certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return "signed by another authority"
    if expires_soon(pair, now):
        return "expires soon"
    if pair.certificate.subject != _name(request.common_name, request.organization):
        return "other subject"
    if _names_of(pair.certificate) != {*request.hosts, *request.addresses}:
        return "other names"
    return ""


def kubeconfig(server: str, cluster: str, user: str, authority: bytes, pair: tuple[bytes, bytes]) -> str:
    """JSON, which is YAML too; key order is fixed, so equal inputs give equal files."""

    def text(content: bytes) -> str:
        return base64.b64encode(content).decode()

    key, certificate = pair
    place = {"server": server, "certificate-authority-data": text(authority)}
    identity = {"client-certificate-data": text(certificate), "client-key-data": text(key)}
    return (
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": cluster, "cluster": place}],
                "users": [{"name": user, "user": identity}],
                "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
                "current-context": cluster,
                "preferences": {},
            },
            indent=1,
        )
        + "\n"
    )


def read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
