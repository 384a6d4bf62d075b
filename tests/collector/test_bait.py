"""Bait is found in every form it is usually sent in, and nothing else is."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.bait import BaitScanner
from collector.manifest import Bait

KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzzTESTKEYa"
WORDS = "legal winner thank year wave sausage worth useful"
SSH = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDn3cVwVqV1XJtq7m3z9rYk4v2bT0gHnYxjQm5lR8sXzAAAAJgk1m2dJNZt
nQAAAAtzc2gtZWQyNTUxOQAAACDn3cVwVqV1XJtq7m3z9rYk4v2bT0gHnYxjQm5lR8sXzA
AAAEBy
-----END OPENSSH PRIVATE KEY-----
"""


def bait(name: str, value: str) -> Bait:
    return Bait(name=name, kind="test", where="env:TEST", value=value)


SCANNER = BaitScanner([bait("aws", KEY), bait("wallet", WORDS), bait("ssh", SSH), bait("tiny", "abc")])


def fully_quoted(data: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (KEY.encode(), "aws/plain"),
        (f'{{"k": "{KEY}"}}'.encode(), "aws/plain"),
        (json.dumps({"k": KEY}).replace("/", "\\/").encode(), "aws/plain"),
        (KEY[::-1].encode(), "aws/reversed"),
        (KEY.encode().hex().encode(), "aws/hex"),
        (KEY.encode().hex().upper().encode(), "aws/hex"),
        (base64.b64encode(KEY.encode()), "aws/base64"),
        (base64.encodebytes(b"x" * 30 + KEY.encode()), "aws/base64"),
        (quote(base64.b64encode(KEY.encode()), safe="").encode(), "aws/base64"),
        (json.dumps(base64.encodebytes(b"x" * 30 + KEY.encode()).decode()).encode(), "aws/base64"),
        (base64.urlsafe_b64encode(KEY.encode()), "aws/base64"),
        (base64.b32encode(KEY.encode()), "aws/base32"),
        (base64.b32encode(KEY.encode()).lower(), "aws/base32"),
        (b"k=" + quote_plus(KEY).encode(), "aws/url"),
        (fully_quoted(KEY.encode()), "aws/url"),
        (WORDS.encode(), "wallet/plain"),
        (b"w=" + quote_plus(WORDS).encode(), "wallet/url"),
        (b"w=" + quote(WORDS).encode(), "wallet/url"),
        (SSH.encode(), "ssh/plain"),
        (json.dumps({"key": SSH}).encode(), "ssh/plain"),
        (quote_plus(SSH).encode(), "ssh/plain"),
        (base64.b64encode(SSH.encode()), "ssh/base64"),
        (SSH.splitlines()[2].encode(), "ssh/plain"),
    ],
)
def test_known_forms(data: bytes, expected: str) -> None:
    assert SCANNER.scan(data) == (expected,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc" * 100,
        KEY[:-1].encode(),
        KEY.lower().encode(),
        b"\n".join(line.encode() for line in SSH.splitlines()[:2]),
        SSH.splitlines()[-1].encode(),
        gzip.compress(KEY.encode(), mtime=0),
        b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(3000)),
    ],
)
def test_nothing_else_is_found(data: bytes) -> None:
    assert SCANNER.scan(data) == ()


def test_every_bait_and_form_is_listed_once_and_sorted() -> None:
    data = b" ".join([KEY.encode(), KEY.encode(), WORDS.encode(), base64.b64encode(KEY.encode())])
    assert SCANNER.scan(data) == ("aws/base64", "aws/plain", "wallet/plain")


VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(VALUES, st.binary(max_size=20), st.binary(max_size=20))
def test_base64_and_base32_are_found_at_every_alignment(value: str, before: bytes, after: bytes) -> None:
    scanner = BaitScanner([bait("x", value)])
    data = before + value.encode() + after
    assert "x/base64" in scanner.scan(base64.b64encode(data))
    assert "x/base64" in scanner.scan(base64.urlsafe_b64encode(data))
    assert "x/base32" in scanner.scan(base64.b32encode(data))
    assert "x/hex" in scanner.scan(data.hex().encode())


@given(VALUES, st.integers(1, 60), st.sampled_from(["{i}.{c}", "{c}.{i}", "{i}-{c}", "{c}-{i}", "{c}"]))
def test_hex_in_pieces_over_names_is_found_in_each_piece(value: str, size: int, shape: str) -> None:
    text = value.encode().hex()
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    names = [f"{shape.format(i=i, c=chunk)}.x.evil.test" for i, chunk in enumerate(chunks)]
    if len(set(names)) < len(names):  # equal pieces without a number cannot be told from repetitions
        return
    found = BaitScanner([bait("x", value)]).scan_labels(["a.index.example", *names])
    assert found[0] == ()
    assert all("x/hex" in labels for labels in found[1:])


def test_base64_in_names_is_found_in_lower_case() -> None:
    text = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=").lower()
    names = [f"{text[:30]}.{text[30:]}.evil.test"]
    assert SCANNER.scan_labels(names) == (("aws/base64",),)


def test_names_out_of_order_are_joined_by_their_numbers() -> None:
    text = KEY.encode().hex()
    names = [f"{i}-{text[i * 16 : i * 16 + 16]}.evil.test" for i in (3, 0, 4, 1, 2)]
    assert SCANNER.scan_labels(names) == (("aws/hex",),) * 5


def test_repeated_and_interleaved_questions_do_not_hide_a_piece() -> None:
    text = base64.b32encode(KEY.encode()).decode().rstrip("=").lower()
    first, second = f"{text[:40]}.evil.test", f"{text[40:]}.evil.test"
    names = [first, first, "six.index.example", second, first, second]
    found = SCANNER.scan_labels(names)
    assert found == (("aws/base32",),) * 2 + ((),) + (("aws/base32",),) * 3


def test_ordinary_names_carry_nothing() -> None:
    names = ["files.example", "www.files.example", "1.2.0.192.in-addr.arpa", "localhost", "", "..", "a..b"]
    assert SCANNER.scan_labels(names) == ((),) * len(names)
