"""Writes data in the encodings that bait is looked for in, by their names in hits."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def xor(data: bytes, key: int = 0xB5) -> bytes:
    return bytes(byte ^ key for byte in data)


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("notes.txt", (2026, 1, 1, 0, 0, 0)), data, method)
    return out.getvalue()


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ARMOUR: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64 url-safe": lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
    "base64 in lines": base64.encodebytes,
    "base32": base64.b32encode,
    "hex": lambda data: data.hex().encode(),
    "hex with escapes": lambda data: b"".join(b"\\x%02x" % byte for byte in data),
    "hex with colons": lambda data: data.hex(":").encode(),
    "decimal": lambda data: ",".join(map(str, data)).encode(),
}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "zstd": zstandard.ZstdCompressor().compress,
    "zip": zipped,
}
TRANSPORT: dict[str, Callable[[bytes], bytes]] = {
    "url": lambda data: quote(data, safe="").encode(),
    "url url": lambda data: quote(quote(data, safe=""), safe="").encode(),
}


def encoded(data: bytes, layers: Sequence[Callable[[bytes], bytes]]) -> bytes:
    """Encode `data`; the outermost layer is the first."""
    for layer in reversed(layers):
        data = layer(data)
    return data
