"""Server certificates made on the fly: one TLS context per name, all with one shared key."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_NAME = re.compile(r"[A-Za-z0-9_*](?:[A-Za-z0-9_.*-]{0,251}[A-Za-z0-9_.])?")
_NAMELESS = "localhost"
_CACHED = 1000
_COMMON_NAME = 64
_DAYS = 90


class LeafMint:
    """Makes and caches the TLS contexts of the names that clients ask for.

    Args:
        certificate: PEM of the run's authority.
        key: PEM of its private key.
        scratch: Private directory; `ssl` loads certificates from files only.
        keys: File to which the keys of every connection are appended.

    Raises:
        ValueError: The PEMs are not a certificate and an EC private key.
    """

    def __init__(self, certificate: bytes, key: bytes, scratch: Path, keys: Path) -> None:
        self._authority = x509.load_pem_x509_certificate(certificate)
        signer = serialization.load_pem_private_key(key, None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is not an elliptic-curve key")  # noqa: TRY004 - a wrong file
        self._signer = signer
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._scratch = scratch
        self._keys = keys
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context(self, sni: str, ip: str) -> ssl.SSLContext:
        """Return the context for a server name, or for the dialled address when the name is none."""
        name = sni.lower() if _NAME.fullmatch(sni) else ip or _NAMELESS
        found = self._contexts.pop(name, None) or self._make(name)
        # The newest stands last: a dict keeps order, so the first is the one unused for longest.
        self._contexts[name] = found
        if len(self._contexts) > _CACHED:
            del self._contexts[next(iter(self._contexts))]
        return found

    def _make(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Old clients are welcome: what they send is evidence.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.set_alpn_protocols(["http/1.1"])
        context.keylog_filename = str(self._keys)
        handle, path = tempfile.mkstemp(dir=self._scratch)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._key_pem + self._sign(name).public_bytes(serialization.Encoding.PEM))
            context.load_cert_chain(path)
        finally:
            Path(path).unlink()
        return context

    def _sign(self, name: str) -> x509.Certificate:
        begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=_DAYS / 3)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME])])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._authority.subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(days=_DAYS))
            .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._signer.public_key()),
                critical=False,
            )
            .sign(self._signer, hashes.SHA256())
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
