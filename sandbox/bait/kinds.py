"""Generators of fake secrets: valid in form, checksums included, and never issued by anyone.

A generator takes the source of randomness and returns a `Secret`. What it returns leaves the pod only when a
package sends it, which is the point: nobody else knows the value.
"""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
import string
import textwrap
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

_ALNUM = string.ascii_letters + string.digits
_BASE32 = string.ascii_uppercase + "234567"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One fake secret."""

    family: str
    """What it opens: `aws`, `github`, `ssh`, ..."""
    value: str
    """What to look for on the wire."""
    text: str = ""
    """What a template gets, when that is more than `value` (a key file around its telling line)."""
    parts: dict[str, str] = {}
    """Derived texts for `{{name.part}}`."""
    also: dict[str, str] = {}
    """Other forms of the secret that count as bait too, by suffix of the name."""
    content: bytes = b""
    """The whole file, for kinds that are no text."""


def _pick(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


def _checksummed(rng: random.Random, prefix: str) -> str:
    """GitHub's form, which npm took over: 30 random characters and their CRC-32 in six base-62 digits."""
    body = _pick(rng, _ALNUM, 30)
    rest, digits = binascii.crc32(body.encode()), ""
    while rest:
        rest, digit = divmod(rest, 62)
        digits = _BASE62[digit] + digits
    return f"{prefix}{body}{digits.rjust(6, '0')}"


def _aws_key_id(rng: random.Random) -> Secret:
    return Secret(family="aws", value="AKIA" + _pick(rng, _BASE32, 16))


def _aws_session_key_id(rng: random.Random) -> Secret:
    return Secret(family="aws", value="ASIA" + _pick(rng, _BASE32, 16))


def _aws_secret(rng: random.Random) -> Secret:
    return Secret(family="aws", value=base64.b64encode(rng.randbytes(30)).decode())


def _aws_session_token(rng: random.Random) -> Secret:
    return Secret(family="aws", value="IQoJb3JpZ2luX2VjE" + base64.b64encode(rng.randbytes(384)).decode())


def _github_token(rng: random.Random) -> Secret:
    return Secret(family="github", value=_checksummed(rng, "ghp_"))


def _npm_token(rng: random.Random) -> Secret:
    return Secret(family="npm", value=_checksummed(rng, "npm_"))


def _pypi_token(rng: random.Random) -> Secret:
    # A macaroon: version 2, a location of eight bytes (random: a real one names the registry), an identifier
    # that is JSON, and a signature.
    def field(tag: int, data: bytes) -> bytes:
        return bytes([tag, len(data)]) + data

    uuid = rng.randbytes(16).hex()
    identifier = f"{uuid[:8]}-{uuid[8:12]}-4{uuid[13:16]}-a{uuid[17:20]}-{uuid[20:]}".encode()
    macaroon = b"\x02" + field(1, rng.randbytes(8)) + field(2, identifier) + b"\x00"
    macaroon += field(2, b'[3,"' + identifier + b'"]') + b"\x00\x00" + field(6, rng.randbytes(32))
    return Secret(family="pypi", value="pypi-" + base64.urlsafe_b64encode(macaroon).decode().rstrip("="))


def _ssh_key(rng: random.Random) -> Secret:
    key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    header, *body, footer = pem.splitlines()
    lines = textwrap.wrap("".join(body), 70)  # as ssh-keygen does
    # The seed lies wholly within the fourth line. One line survives what a whole file does not: JSON escapes,
    # changed line ends, sending in chunks.
    text = "\n".join([header, *lines, footer, ""])
    return Secret(family="ssh", value=lines[3], text=text, parts={"public": public})


def _password(rng: random.Random) -> Secret:
    return Secret(family="password", value=_pick(rng, _ALNUM, 24))


def _ci_token(rng: random.Random) -> Secret:
    return Secret(family="environment", value="glcbt-" + _pick(rng, _ALNUM, 26))


def _slack_token(rng: random.Random) -> Secret:
    numbers = f"{rng.randrange(10**11, 10**12)}-{rng.randrange(10**12, 10**13)}"
    return Secret(family="slack", value=f"xoxb-{numbers}-{_pick(rng, _ALNUM, 24)}")


def _openai_key(rng: random.Random) -> Secret:
    # T3BlbkFJ is in every real key: scanners look for it.
    return Secret(family="openai", value=f"sk-proj-{_pick(rng, _ALNUM, 74)}T3BlbkFJ{_pick(rng, _ALNUM, 74)}")


def _anthropic_key(rng: random.Random) -> Secret:
    return Secret(family="anthropic", value=f"sk-ant-api03-{_pick(rng, _ALNUM + '-_', 93)}AA")


def _huggingface_token(rng: random.Random) -> Secret:
    return Secret(family="huggingface", value="hf_" + _pick(rng, string.ascii_letters, 34))


def _gitlab_token(rng: random.Random) -> Secret:
    return Secret(family="gitlab", value="glpat-" + _pick(rng, _ALNUM + "-_", 20))


def _stripe_key(rng: random.Random) -> Secret:
    return Secret(family="stripe", value="sk_live_51" + _pick(rng, _ALNUM, 97))


def _google_token(rng: random.Random) -> Secret:
    return Secret(family="google", value="1//0" + _pick(rng, _ALNUM + "-_", 99))


def _google_access_token(rng: random.Random) -> Secret:
    return Secret(family="google", value="ya29.c." + _pick(rng, _ALNUM + "-_", 180))


def _service_account(rng: random.Random) -> Secret:
    # The one secret that is not of the given source: no library takes randomness for an RSA key.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key_id, account = rng.randbytes(20).hex(), "deploy@orders-prod.iam.example"
    document = {
        "type": "service_account",
        "project_id": "orders-prod",
        "private_key_id": key_id,
        "private_key": pem,
        "client_email": account,
        "client_id": _pick(rng, string.digits, 21),
        "auth_uri": "https://accounts.cloud.example/o/oauth2/auth",
        "token_uri": "https://oauth2.cloud.example/token",
    }
    # A line of the private exponent, whole between two line breaks.
    telling = pem.splitlines()[10]
    return Secret(family="google", value=telling, text=json.dumps(document, indent=2) + "\n", also={"id": key_id})


def _docker_auth(rng: random.Random) -> Secret:
    password = "dckr_pat_" + _pick(rng, _ALNUM, 27)
    auth = base64.b64encode(f"deploy:{password}".encode()).decode()
    return Secret(family="docker", value=auth, also={"password": password})


def _kube_token(rng: random.Random) -> Secret:
    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    header = json.dumps({"alg": "RS256", "kid": encoded(rng.randbytes(32))}, separators=(",", ":"))
    account = "kubernetes.io/serviceaccount"
    claims = json.dumps(
        {"iss": account, f"{account}/namespace": "default", "sub": "system:serviceaccount:default:deploy"},
        separators=(",", ":"),
    )
    token = f"{encoded(header.encode())}.{encoded(claims.encode())}"
    return Secret(family="kubernetes", value=f"{token}.{encoded(rng.randbytes(256))}")


def _solana_key(rng: random.Random) -> Secret:
    seed = rng.randbytes(32)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pair = seed + public
    number, digits = int.from_bytes(pair, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    digits = "1" * (len(pair) - len(pair.lstrip(b"\0"))) + digits
    return Secret(family="wallet", value=",".join(str(byte) for byte in pair), also={"base58": digits})


def _wallet_phrase(rng: random.Random) -> Secret:
    from mnemonic import Mnemonic  # noqa: PLC0415 - it reads its list of words, and most commands plant nothing

    phrase = Mnemonic("english").to_mnemonic(rng.randbytes(16))
    words = phrase.split()
    # As lines (line breaks are taken out of what is searched) and as a list of JSON.
    return Secret(family="wallet", value=phrase, also={"lines": "".join(words), "list": '", "'.join(words)})


def _hex_key(rng: random.Random) -> Secret:
    return Secret(family="wallet", value=rng.randbytes(32).hex())


def _browser_logins(rng: random.Random) -> Secret:
    password = _pick(rng, _ALNUM, 20)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(
            "CREATE TABLE logins (origin_url VARCHAR NOT NULL, username_value VARCHAR, password_value BLOB,"
            " signon_realm VARCHAR NOT NULL, date_created INTEGER NOT NULL)"
        )
        database.execute(
            "INSERT INTO logins VALUES (?, ?, ?, ?, ?)",
            ("https://mail.example/", "martin", password.encode(), "https://mail.example/", 13345678901234567),
        )
        database.commit()
        content = database.serialize()
    return Secret(family="browser", value=password, content=content)


Generator: TypeAlias = "Callable[[random.Random], Secret]"

KINDS: Mapping[str, Generator] = {
    "anthropic-key": _anthropic_key,
    "aws-access-key-id": _aws_key_id,
    "aws-secret-access-key": _aws_secret,
    "aws-session-key-id": _aws_session_key_id,
    "aws-session-token": _aws_session_token,
    "browser-logins": _browser_logins,
    "ci-token": _ci_token,
    "docker-auth": _docker_auth,
    "gcp-service-account": _service_account,
    "github-token": _github_token,
    "gitlab-token": _gitlab_token,
    "google-access-token": _google_access_token,
    "google-refresh-token": _google_token,
    "hex-key": _hex_key,
    "huggingface-token": _huggingface_token,
    "kube-token": _kube_token,
    "npm-token": _npm_token,
    "openai-key": _openai_key,
    "password": _password,
    "pypi-token": _pypi_token,
    "slack-token": _slack_token,
    "solana-key": _solana_key,
    "ssh-ed25519": _ssh_key,
    "stripe-key": _stripe_key,
    "wallet-phrase": _wallet_phrase,
}
"""Every kind of secret a profile can ask for."""

PARTS: Mapping[str, tuple[str, ...]] = {"ssh-ed25519": ("public",)}
"""Names after the dot that a kind's references may use."""
