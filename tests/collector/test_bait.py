"""Bait is found in every form it is usually sent in, and nothing else is."""

from __future__ import annotations

import base64
import binascii
import codecs
import gzip
import hashlib
import io
import itertools
import json
import string
import tarfile
import zipfile
import zlib
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collector.bait import BaitScanner, Hit
from collector.bait.blob import Blob
from collector.bait.needles import MIN_DIFFERENT, forms
from collector.bait.transport import readings
from collector.manifest import Bait
from tests.collector.encodings import ARMOUR, COMPRESSED, TRANSPORT, encoded, xor

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
        b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(3000)),
    ],
)
def test_nothing_else_is_found(data: bytes) -> None:
    assert SCANNER.scan(data) == ()


def test_every_bait_and_form_is_listed_once_and_sorted() -> None:
    data = b" ".join([KEY.encode(), KEY.encode(), WORDS.encode(), base64.b64encode(KEY.encode())])
    assert SCANNER.scan(data) == ("aws/base64", "aws/plain", "wallet/plain")


VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40).filter(
    lambda value: len(set(value)) >= MIN_DIFFERENT
)


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


BASE85 = (base64.b85encode, base64.a85encode)


@given(st.one_of(st.binary(min_size=8, max_size=60), st.lists(st.sampled_from([0, 33, 255]), min_size=8).map(bytes)))
def test_forms_in_base85_and_rot13_are_those_of_the_standard_library(value: bytes) -> None:
    made = [(chain, data) for chain, data in forms(value) if chain in {("base85",), ("rot13",)}]
    cuts = [value[shift:][: (len(value) - shift) // 4 * 4] for shift in range(4)]
    assert made == [
        (("rot13",), codecs.encode(value.decode("latin-1"), "rot13").encode("latin-1")),
        *(
            (("base85",), encode(cut))
            for cut in cuts
            if len(cut) >= 8
            for encode in (base64.b85encode, base64.a85encode)
        ),
    ]


def test_base64_in_names_is_found_in_lower_case() -> None:
    text = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=").lower()
    names = [f"{text[:30]}.{text[30:]}.evil.test"]
    assert SCANNER.scan_labels(names) == (("aws/base64",),)


def test_what_base64_says_of_compressed_bytes_is_found_where_names_keep_their_capitals() -> None:
    text = base64.urlsafe_b64encode(zlib.compress(KEY.encode())).decode().rstrip("=")
    names = [f"{text[at : at + 20]}.Evil.Test" for at in range(0, len(text), 20)]
    assert SCANNER.scan_labels(names) == (("aws/base64+zlib",),) * len(names)
    assert SCANNER.scan_labels([name.lower() for name in names]) == ((),) * len(names)


def test_names_below_one_parent_belong_together_however_it_is_written() -> None:
    text = KEY.encode().hex()
    assert SCANNER.scan_labels([f"{text[:50]}.evil.test", f"{text[50:].upper()}.EVIL.test"]) == (("aws/hex",),) * 2


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


SECRET = KEY.encode()
LAYERS = {**ARMOUR, **COMPRESSED, **TRANSPORT, "xor": xor}
HOSTILE = [
    *(b"\x1f\x8b\x08\0", b"x\x9c", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\3\4", b"]\0\0\x80\0"),
    *(b"%41", b"\\u0041", b"\\x41", b"=41=\n", b"A" * 40, b"a" * 40, b"7" * 40, b"1,2," * 20, b"4a:" * 20, b"A\0" * 20),
]


@pytest.mark.parametrize("name", [*ARMOUR, *COMPRESSED, "xor", "url", "url url"])
def test_each_encoding_is_named(name: str) -> None:
    data = LAYERS[name](b"\x07me=martin&key=" + SECRET + b"&host=\xfe")
    # Compressors may keep short data as it is, and then it is also found so.
    assert f"aws/{name.split(maxsplit=1)[0]}" in SCANNER.scan(b"POST / HTTP/1.1\r\n\r\n", data)


@pytest.mark.parametrize("encode", [zlib.compressobj(wbits=-15), zlib.compressobj(level=0, wbits=-15)])
def test_deflate_without_a_header_is_found_at_the_beginning_of_a_part(encode: Any) -> None:
    data = encode.compress(b"key=" + SECRET) + encode.flush()
    assert {"aws/deflate", "aws/plain"} & set(SCANNER.scan(b"POST / HTTP/1.1\r\n\r\n", data))
    assert {"aws/base64+deflate", "aws/base64"} & set(SCANNER.scan(base64.b64encode(data)))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (["base64", "gzip"], "base64+gzip"),
        (["gzip", "base64"], "gzip+base64"),
        (["base64", "base64"], "base64+base64"),
        (["hex", "xor"], "hex+xor"),
        (["xor", "base64"], "xor+base64"),
        (["xor", "gzip"], "xor+gzip"),
        (["url", "base64", "gzip"], "base64+gzip"),
        (["base64", "gzip", "url"], "base64+gzip+url"),
        (["base64", "xor", "zlib"], "base64+xor+zlib"),
        (["zip", "base64", "base64"], "zip+base64+base64"),
        (["base32", "bz2", "hex with escapes"], "base32+bz2+hex"),
    ],
)
def test_a_chain_is_told_from_the_outside_to_the_inside(layers: list[str], expected: str) -> None:
    data = encoded(b"user=martin&key=" + SECRET + b"\n", [LAYERS[name] for name in layers])
    assert f"aws/{expected}" in SCANNER.scan(data)


def test_text_that_runs_backwards_is_read() -> None:
    packed = base64.b64encode(gzip.compress(SECRET, mtime=0))[::-1]
    assert SCANNER.scan(b'{"d": "' + packed + b'"}') == ("aws/reversed+base64+gzip",)
    assert SCANNER.scan(base64.b64encode(SECRET)[::-1]) == ("aws/reversed+base64",)
    assert SCANNER.scan(base64.b64encode(SECRET[::-1])) == ("aws/base64+reversed",)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (KEY.encode("utf-16-le"), "utf16"),
        (base64.b64encode(KEY.encode("utf-16-le")), "base64+utf16"),
        (base64.b64encode(gzip.compress(SECRET, mtime=0)).decode().encode("utf-16-be"), "utf16+base64+gzip"),
        (codecs.encode(KEY, "rot13").encode(), "rot13"),
        (codecs.encode(base64.b64encode(SECRET).decode(), "rot13").encode(), "rot13+base64"),
        (base64.b85encode(b"xyz" + SECRET), "base85"),
        (base64.a85encode(SECRET), "base85"),
        (binascii.b2a_qp(b"x" * 60 + SECRET), "plain"),
        (json.dumps(base64.encodebytes(b"y" * 30 + SECRET).decode()).encode(), "base64"),
        ("".join(f"\\u{byte:04x}" for byte in SECRET).encode(), "plain"),
    ],
)
def test_other_forms(data: bytes, expected: str) -> None:
    assert SCANNER.scan(data) == (f"aws/{expected}",)


def test_a_tar_holds_its_members_as_they_are_and_a_compressed_one_does_not() -> None:
    for mode, expected in (("w", "plain"), ("w:gz", "gzip"), ("w:xz", "xz"), ("w:bz2", "bz2")):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
            for number in range(3):
                member = tarfile.TarInfo(f"{number}.txt")
                member.size = len(SECRET)
                archive.addfile(member, io.BytesIO(SECRET))
        assert SCANNER.scan(out.getvalue()) == (f"aws/{expected}",)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_members_of_zips_are_read_and_the_rest_of_the_archive_too(method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("first.txt", b"nothing " * 400)
        archive.writestr("second.txt", SECRET + b" " * 400)
    assert SCANNER.scan(out.getvalue()) == ("aws/plain" if method == zipfile.ZIP_STORED else "aws/zip",)


def test_a_stream_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    data = gzip.compress(SECRET + bytes(range(256)) * 40)
    assert SCANNER.scan(data[: len(data) - 40]) == ("aws/gzip",)


TEXT_LAYERS = [*ARMOUR, "url"]
BYTE_LAYERS = [*COMPRESSED, "xor"]


@st.composite
def layers(draw: st.DrawFn) -> list[str]:
    """Up to three encodings. Percent-encoding counts as one here; decimal numbers below a xor are not claimed."""
    chain = draw(st.lists(st.sampled_from(TEXT_LAYERS + BYTE_LAYERS), min_size=1, max_size=3))
    below_xor = [inner for outer, inner in itertools.pairwise(chain) if outer == "xor"]
    if {"decimal", "xor"} & set(below_xor) or chain.count("url") > 2:
        return ["base64", "xor", "gzip"]
    return chain


SECRETS = st.text(string.ascii_letters + string.digits + "-_/+=", min_size=16, max_size=60).filter(
    lambda value: len(set(value)) >= 12
)


@settings(max_examples=200)
@given(SECRETS, layers(), st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["", "POST /c\r\n\r\n"]))
def test_any_composition_of_three_encodings_is_found(
    value: str, chain: list[str], before: bytes, after: bytes, head: str
) -> None:
    scanner = BaitScanner([bait("x", value)])
    content, functions = before + value.encode() + after, [LAYERS[name] for name in chain]
    below_xor = [encoded(content, functions[at + 1 :]) for at, name in enumerate(chain) if name == "xor"]
    # Text of fewer different characters, such as hexadecimal of digits, does not tell its key.
    assume(all(len(set(text[len(text) // 4 : -(len(text) // 4)])) > 11 for text in below_xor))
    assert scanner.scan(head.encode(), encoded(content, functions))
    assert scanner.unfinished == 0


@given(SECRETS, st.integers(1, 255), st.binary(max_size=60), st.binary(max_size=60))
def test_every_key_of_a_xor_is_found_amid_other_bytes(value: str, key: int, before: bytes, after: bytes) -> None:
    assert "x/xor" in BaitScanner([bait("x", value)]).scan(before + xor(value.encode(), key) + after)


@given(st.binary(max_size=400), st.lists(st.sampled_from(TEXT_LAYERS + BYTE_LAYERS), max_size=3))
def test_data_without_bait_is_no_hit(data: bytes, chain: list[str]) -> None:
    assert SCANNER.scan(encoded(data, [LAYERS[name] for name in chain])) == ()


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(HOSTILE)), max_size=12))
def test_nothing_that_is_sent_is_an_error(parts: list[bytes]) -> None:
    assert SCANNER.scan(b"".join(parts)) == ()


@pytest.mark.parametrize(
    "data",
    [
        zlib.compress(bytes(1 << 20)),
        gzip.compress(zlib.compress(bytes(1 << 22)), mtime=0),
        b"\x1f\x8b\x08\0" * 20_000,
        zstandard.ZstdCompressor().compress(bytes(1 << 24)),
        b"QUFB" * 40_000,
    ],
    ids=["zlib", "gzip", "many gzip members", "zstd", "base64"],
)
def test_what_is_more_than_the_budget_is_told_and_never_passed_over(data: bytes) -> None:
    scanner = BaitScanner([bait("aws", KEY)], message_budget=1 << 16)
    assert scanner.scan(SECRET + data) == ("aws/plain",)
    assert scanner.unfinished == 1


def test_the_budget_of_the_run_is_shared_by_its_messages() -> None:
    scanner = BaitScanner([bait("aws", KEY)], run_budget=4_000)
    packed = gzip.compress(bytes(1000) + SECRET)
    assert scanner.scan(packed) == ("aws/gzip",)
    assert scanner.unfinished == 0
    for _ in range(4):
        scanner.scan(packed)
    assert scanner.unfinished >= 1


def test_places_of_hits_are_those_in_the_message() -> None:
    packed = base64.b64encode(gzip.compress(SECRET, mtime=0))
    hits = SCANNER.hits(b"a=" + SECRET + b"&b=" + packed)
    assert hits[0] == Hit("aws/plain", 2, 2 + len(SECRET))
    assert {hit for hit in hits if "gzip" in hit.label} == {
        Hit("aws/base64+gzip", 5 + len(SECRET), 5 + len(SECRET) + len(packed.rstrip(b"=")))
    }


@pytest.mark.parametrize(("armour", "label"), [("hex", "hex+gzip"), ("base32", "base32+gzip")])
def test_compressed_bait_in_pieces_over_names_is_found_in_each(armour: str, label: str) -> None:
    text = ARMOUR[armour](gzip.compress(SECRET, mtime=0)).decode().lower().rstrip("=")
    names = [f"{n}.{text[at : at + 30]}.evil.test" for n, at in enumerate(range(0, len(text), 30))]
    found = SCANNER.scan_labels(names)
    assert all(f"aws/{label}" in labels for labels in found)


@pytest.mark.parametrize("body", [b"=\n" * 12, b"=\r\n" * 12, b"\r\n" * 12, b"%0A" * 12, b"\\n" * 12])
def test_a_text_of_which_nothing_is_left_is_no_error(body: bytes) -> None:
    scanner = BaitScanner([Bait(name="key", kind="test", where="env:TEST", value=KEY)])
    assert scanner.scan(body) == ()
    assert scanner.scan(body, KEY.encode()) == ("key/plain",)
    assert scanner.unfinished == 0


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (rb"a\\\\b", rb"a\\b"),
        (rb"a\\\b", rb"a\\b"),
        (rb"\\\nx", b"x"),
        (rb"\\\u0041", b"A"),
        (rb"\\\"", b'"'),
        (rb"\u00zz", rb"\u00zz"),
        (b"\\" * 400_001, b"\\" * 200_001),
    ],
)
def test_backslashes_are_undone_at_once(sent: bytes, meant: bytes) -> None:
    *_, last = readings(Blob.message([sent]), spaces=False)
    assert last.blob.data == meant


def test_one_bait_sent_often_hides_no_other() -> None:
    scanner = BaitScanner([bait("aws-access-key-id", "AKIAQX7B2M5T9W3ZK8PD"), bait("aws-secret-access-key", KEY)])
    flood = b"AKIAQX7B2M5T9W3ZK8PD " * 20_000
    assert scanner.scan(flood, KEY.encode()) == ("aws-access-key-id/plain", "aws-secret-access-key/plain")
    assert len(scanner.hits(flood)) < 5000
