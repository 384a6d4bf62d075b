"""What a file is, told from its first bytes: never from its name, which a package chooses."""

from __future__ import annotations

import re
from typing import Final

TAR_MAGIC_AT: Final = 257
_BEGINNINGS: Final = (
    (b"\x7fELF", "elf"),
    (b"MZ", "pe"),
    (b"\xca\xfe\xba\xbe", "mach-o"),
    (b"\xcf\xfa\xed\xfe", "mach-o"),
    (b"\xce\xfa\xed\xfe", "mach-o"),
    (b"\0asm", "wasm"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"!<arch>\n", "ar"),
    (b"SQLite format 3\0", "sqlite"),
    (b"%PDF-", "pdf"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
)
_KEYS: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")
_CERTIFICATES: Final = (b"-----BEGIN ", b"ssh-rsa ", b"ssh-ed25519 ", b"ecdsa-sha2-")
_SHEBANG: Final = re.compile(rb"#![ \t]*(?:\S*/)?(?:env[ \t]+(?:-\S+[ \t]+)*)?(?:\S*/)?([A-Za-z]+)")
_SHELLS: Final = frozenset({b"sh", b"bash", b"dash", b"zsh", b"ksh", b"fish"})
_PYTHON: Final = re.compile(
    rb"^(?:import [A-Za-z_]|from [A-Za-z_.]+ import |def [A-Za-z_]\w*\(|class [A-Za-z_]\w*[(:]|@[A-Za-z_])",
    re.MULTILINE,
)
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05](?:\x95|[\x28\x5d\x7d\x63\x8c\x58\x71])")
_MIN_CODE: Final = 8
_MAX_SHEBANG: Final = 256
"""As much of it as the kernel reads; the expression above takes quadratic time."""


def kind_of_content(head: bytes) -> str:
    """Name what a file's content is.

    Args:
        head: Its first bytes; 512 are enough for all but text, of which more is looked at.

    Returns:
        `empty`, `elf`, `pe`, `mach-o`, `wasm`, `python-bytecode`, `pickle`, `zip`, `gzip`, `bzip2`, `xz`, `zstandard`,
        `7z`, `rar`, `ar`, `tar`, `sqlite`, `pdf`, `image`, `private-key`, `pem` (another key or certificate),
        `shell-script`, `python-script`, `script` (of another interpreter), `python` (source without a shebang), `text`
        or `data`.
    """
    if not head:
        return "empty"
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    # Two bytes that change with the version of Python, then these, then flags of which only three bits are used.
    if head[2:4] == b"\r\n" and len(head) > _MIN_CODE and head[4] <= 3 and head[5:8] == b"\0\0\0":  # noqa: PLR2004
        return "python-bytecode"
    if head[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        return "tar"
    if _PICKLE.match(head):
        return "pickle"
    return _text_kind(head)


def _text_kind(head: bytes) -> str:
    if (script := _SHEBANG.match(head[:_MAX_SHEBANG])) is not None:
        name = script[1]
        return "shell-script" if name in _SHELLS else "python-script" if name.startswith(b"python") else "script"
    if _KEYS.search(head):
        return "private-key"
    if head.startswith(_CERTIFICATES):
        return "pem"
    if not _is_text(head):
        return "data"
    return "python" if _PYTHON.search(head) else "text"


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):  # noqa: PLR2004 - controls
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The beginning of a longer file may end within a character.
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True
