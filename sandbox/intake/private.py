"""A private copy of a file: what is hashed and checked is what runs, whatever happens to the original."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sandbox.errors import IntakeError, UnavailableError
from sandbox.intake.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 2 * 1024**3
_CHUNK = 1024 * 1024


def keep(
    source: Path, directory: Path, filename: str, about: Callable[[str], None] = lambda _sha256: None
) -> tuple[Path, str]:
    """Copy a file, reading it once.

    Args:
        source: A regular file.
        directory: Where copies are kept; made for this user alone when it is not there.
        filename: Name of the copy, one path component.
        about: Told the digest before the copy is at its place.

    Returns:
        The copy, `directory/<sha256>/<filename>`, and the digest.

    Raises:
        IntakeError: It is not a regular file, cannot be read, or is too large.
    """
    with _opened(source) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise IntakeError(f"{quoted(str(source))} is not a regular file; give a wheel or an sdist")
        try:
            return _copy(stream, directory, filename, about)
        except OSError as error:
            raise UnavailableError(
                f"{quoted(filename)} cannot be copied to the cache: {error}; check the disk"
            ) from error


def _opened(source: Path) -> IO[bytes]:
    try:
        return open(source, "rb", opener=_without_following)
    except FileNotFoundError as error:
        raise IntakeError(f"there is no file {quoted(str(source))}; check the path") from error
    except OSError as error:
        if source.is_symlink():
            raise IntakeError(f"{quoted(str(source))} is a symbolic link; give the file that it leads to") from error
        raise IntakeError(f"{quoted(str(source))} cannot be read: {error.strerror}; check the path") from error


def _without_following(path: str, flags: int) -> int:
    """Open a file; a link may lead anywhere, and opening a FIFO would wait for a writer."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _copy(stream: IO[bytes], directory: Path, filename: str, about: Callable[[str], None]) -> tuple[Path, str]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".incoming-", delete=False) as copy:
        temporary = Path(copy.name)
        try:
            digest = hashlib.sha256()
            size = 0
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise IntakeError(f"{quoted(filename)} is larger than 2 GiB; this is not analysed")
                digest.update(chunk)
                copy.write(chunk)
            copy.flush()
            about(digest.hexdigest())
            return place(temporary, directory / digest.hexdigest(), filename), digest.hexdigest()
        finally:
            temporary.unlink(missing_ok=True)


def place(temporary: Path, directory: Path, filename: str) -> Path:
    """Give a finished copy its name in one step, so that nobody ever sees half of it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    temporary.chmod(0o644)  # the tracee, another user, reads it through a read-only mount
    return temporary.replace(directory / filename)
