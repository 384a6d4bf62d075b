"""The keys of a xor are told as by trying each of them."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from collector.bait.blob import Blob, Budget
from collector.bait.xor import unxored
from tests.collector.encodings import xor

ARMOUR = frozenset((string.ascii_letters + string.digits + "+/-_=%\\:, .~\r\n").encode())
PIECES = st.one_of(
    st.binary(max_size=200),
    st.tuples(st.binary(max_size=60), st.text(string.printable, max_size=300), st.binary(max_size=60)).map(
        lambda parts: parts[0] + parts[1].encode() + parts[2]
    ),
    st.lists(st.sampled_from(sorted(ARMOUR)), max_size=300).map(bytes),
    st.permutations(sorted(ARMOUR)).map(lambda chars: bytes(chars) * 3),
)


def keys_of_text(piece: bytes) -> list[int]:
    """Keys below which the middle half of a piece is text of an encoding."""
    quarter = len(piece) // 4
    seen = set(piece[quarter : len(piece) - quarter])
    if not 10 <= len(seen) <= len(ARMOUR) or seen <= ARMOUR:
        return []
    keys = [key for key in range(1, 256) if ARMOUR.issuperset(byte ^ key for byte in seen)]
    return keys if len(keys) <= 8 else []


@given(PIECES.filter(lambda piece: len(piece) >= 24), st.integers(0, 255))
def test_keys_that_make_text_are_those_that_make_all_of_it_text(piece: bytes, key: int) -> None:
    piece = xor(piece, key)
    made = [blob.data for blob in unxored(Blob.message([piece]), Budget(1 << 20))]
    tried = [xor(piece, each) for each in keys_of_text(piece)]
    # What compressed data begins with may tell further keys, before these.
    assert not tried or made[0].endswith(Blob.message(tried).data)


@given(st.permutations(sorted(ARMOUR)), st.integers(1, 255))
def test_the_key_of_a_text_of_all_characters_is_told(chars: list[int], key: int) -> None:
    piece = xor(bytes(chars) * 3, key)
    made = [blob.data for blob in unxored(Blob.message([piece]), Budget(1 << 20))]
    assert made[0].endswith(xor(piece, key))
