"""Standard output, whose reader may have seen enough, and whose disk may be full; and what is said beside it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from sandbox.errors import SandboxError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write(pieces: Iterable[bytes], output: Path | None = None) -> None:
    """Write to a file, or to standard output, whose reader (head, less) may have seen enough."""
    if output is not None:
        try:
            output.write_bytes(b"".join(pieces))
        except OSError as error:
            raise UsageError(f"cannot write {output}: {error.strerror}; choose another --output") from error
        return
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except OSError as error:
        # What is still buffered would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise SandboxError(f"cannot write to standard output: {error.strerror}; try --output") from error


def as_json(told: object) -> bytes:
    """Anything that msgspec encodes, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def say(line: str) -> None:
    """Tell what was done, on standard error."""
    sys.stderr.write(f"{line}\n")
