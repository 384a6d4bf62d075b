"""An authority of a test's own, and a certificate by it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


def make(directory: Path, where: str) -> Path:
    """Write `cert.pem` and `key.pem` for a server at an address or name, and `authority.pem`; gives its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority.test")])
    own = _certificate(issuer, issuer, authority.public_key())
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    server = _certificate(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server.test")]), issuer, key.public_key()
    ).add_extension(x509.SubjectAlternativeName([_name(where)]), critical=False)
    pem = serialization.Encoding.PEM
    (directory / "authority.pem").write_bytes(own.sign(authority, hashes.SHA256()).public_bytes(pem))
    (directory / "cert.pem").write_bytes(server.sign(authority, hashes.SHA256()).public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "key.pem").write_bytes(secret)
    return directory / "authority.pem"


def _name(where: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(where))
    except ValueError:
        return x509.DNSName(where)


def _certificate(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )
