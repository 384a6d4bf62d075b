"""How fast bait is searched for, in usual traffic and in traffic made to be slow.

    .venv/bin/python -m tests.benchmarks.bait [--times N]

Prints for each kind of message its size, the best time and the megabytes a second, and whether the budget was used up.
Not a test: nothing is asserted about speed.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import random
import string
import time
import zlib
from typing import TYPE_CHECKING

from collector.bait import BaitScanner
from collector.manifest import Bait
from tests.collector.encodings import xor, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 1 << 20
_COUNT = 35
"""Values of a run, as the shipped profile plants."""


def _baits(rng: random.Random) -> list[Bait]:
    values = ["".join(rng.choices(string.ascii_letters + string.digits, k=40)) for _ in range(_COUNT)]
    return [Bait(name=f"value-{n}", kind="test", where="env:X", value=value) for n, value in enumerate(values)]


def _usual(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    noise = rng.randbytes(_SIZE)
    words = ["the", "package", "sends", "what", "it", "knows", "of", "machine", "configuration"]
    rows = [
        {"name": rng.choice(words), "value": rng.random(), "path": "/usr/lib/python3/site.py"} for _ in range(12000)
    ]
    yield "text", " ".join(rng.choices(words, k=_SIZE // 5)).encode()[:_SIZE]
    yield "JSON", json.dumps(rows, indent=1).encode()[:_SIZE]
    yield "random bytes", noise
    yield "base64 of random bytes", base64.b64encode(noise)[:_SIZE]
    yield "base64 in lines", base64.encodebytes(noise)[:_SIZE]
    yield "hex of random bytes", noise.hex().encode()[:_SIZE]
    yield "gzip of text", gzip.compress(" ".join(rng.choices(words, k=_SIZE)).encode())[:_SIZE]


def _made_to_be_slow(rng: random.Random, baits: list[Bait]) -> Iterator[tuple[str, bytes]]:
    noise = rng.randbytes(_SIZE)
    value = baits[0].value.encode()
    yield "one letter", b"A" * _SIZE
    yield "base64 of base64 of base64", base64.b64encode(base64.b64encode(base64.b64encode(noise)))[:_SIZE]
    yield (
        "short runs of base64",
        (b" ".join(base64.b64encode(noise[at : at + 12]) for at in range(0, _SIZE, 12)))[:_SIZE],
    )
    yield "base32 of random bytes", base64.b32encode(noise)[:_SIZE]
    yield "alternating alphabets", (b"4142434445464748494a4b4c " + b"MFRGGZDFMZTWQ2LKNNWG23TP%41 ") * (_SIZE // 53)
    yield "beginnings of gzip", b"\x1f\x8b\x08\0" * (_SIZE // 4)
    yield "beginnings of zlib", b"x\x9c" * (_SIZE // 2)
    yield "beginnings of xz, lzma, zip", b"\xfd7zXZ\0]\0\0\x80\0" + b"\xff" * 8 + b"PK\3\4" * 4 * (_SIZE // 16)
    yield "beginnings below xor", xor(b"\x1f\x8b\x08\0") * (_SIZE // 4)
    yield "stored blocks of nothing", b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\0\0\0\xff\xff" * (_SIZE // 5)
    yield "a bomb", zlib.compress(bytes(1 << 28))
    yield "bombs in an archive", zipped(zlib.compress(bytes(1 << 24))) * 40
    yield "archives in archives", zipped(zipped(zipped(zipped(noise))))
    yield "middles of bait", value[10:30] * (_SIZE // 20)
    yield "bait, over and over", value * (_SIZE // len(value))
    yield "percent signs", b"%25" * (_SIZE // 3)
    yield "backslashes", b"\\u0041" * (_SIZE // 6)
    yield "few different bytes", bytes(rng.choices(b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a", k=_SIZE))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    rng = random.Random(1)  # noqa: S311 - the same messages each time
    baits = _baits(rng)
    start = time.perf_counter()
    BaitScanner(baits).scan(b"warm")
    print(f"preparing {len(baits)} values: {1000 * (time.perf_counter() - start):.0f} ms")
    for title, messages in (("usual", _usual(rng)), ("made to be slow", _made_to_be_slow(rng, baits))):
        print(f"\n{title:34} {'KiB':>6} {'s':>7} {'MB/s':>7}  budget")
        for name, data in messages:
            scanner, best = BaitScanner(baits, run_budget=1 << 50), float("inf")
            for _ in range(times):
                start = time.perf_counter()
                scanner.scan(data)
                best = min(best, time.perf_counter() - start)
            over = "used up" if scanner.unfinished else "enough"
            print(f"{name:34} {len(data) >> 10:6} {best:7.3f} {len(data) / 1e6 / best:7.1f}  {over}")


if __name__ == "__main__":
    main()
