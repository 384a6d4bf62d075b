"""A directory of bytes by digest, plus small notes saying which URL gave which bytes.

Layout: `sha256/ab/<digest>.<size>` (blobs), `notes/cd/<sha256 of key>.json` (`Note`), `incoming/` (downloads under
way). Several processes may share it: everything appears by an atomic rename, and nothing is changed in place. A file in
`incoming/` is locked while its writer lives; the next to open the cache removes those of crashed ones.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from sandbox.registry.errors import IntegrityError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEFAULT_CAP = 5 * 1024**3
_GRACE_SECONDS = 900.0
_TRIM_SECONDS = 600.0
_CHECKED_BYTES = 64 * 1024**2
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known about the answer of one URL."""

    url: str
    """Where the answer finally came from, after redirects."""
    sha256: str
    stored: float
    """When it was read or last confirmed, seconds since the epoch."""
    etag: str = ""
    last_modified: str = ""
    content_type: str = ""


class Blob(msgspec.Struct, frozen=True):
    """Bytes in the cache."""

    path: Path
    sha256: str
    size: int


class Cache:
    """The content-addressed cache.

    Args:
        root: Its directory; made when missing.
        cap: Bytes that may stay in it; the least recently used blobs go first. Blobs used in the last quarter of an
            hour stay, whatever the cap: somebody may be about to open them.
    """

    def __init__(self, root: Path, cap: int = DEFAULT_CAP) -> None:
        self._root = root
        self._cap = cap
        for part in ("sha256", "notes", "incoming"):
            (root / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_unfinished()

    def blob(self, digest: str) -> Blob | None:
        """Find bytes by their sha256 (lower-case hex) and mark them as used; None when they are not here.

        Bytes that a crash or a bad disk changed are removed: of large ones (64 MiB) only the size is looked at.
        """
        if not _DIGEST.fullmatch(digest):
            return None
        for path in self._directory(digest).glob(f"{digest}.*"):
            # Another process may trim it meanwhile.
            with suppress(FileNotFoundError):
                size = path.stat().st_size
                if _is_intact(path, digest, size):
                    os.utime(path)
                    return Blob(path, digest, size)
                structlog.get_logger(__name__).warning("a damaged file in the cache is fetched again", sha256=digest)
                path.unlink()
        return None

    def store(self, chunks: Iterable[bytes], *, expected: str = "", max_bytes: int) -> Blob:
        """Write bytes, verify and keep them.

        Args:
            chunks: The bytes; errors raised by the iterable pass through and nothing is kept.
            expected: The sha256 they must have; empty when unknown.
            max_bytes: More than that is an error.

        Raises:
            IntegrityError: The digest is another one.
            TooLargeError: There are more than `max_bytes`.
        """
        handle, temporary = self._incoming()
        try:
            digest, size = hashlib.sha256(), 0
            with os.fdopen(handle, "wb") as out:
                for chunk in chunks:
                    size += len(chunk)
                    if size > max_bytes:
                        raise TooLargeError(f"the answer is larger than {max_bytes} bytes, the bound for one download")
                    digest.update(chunk)
                    out.write(chunk)
                out.flush()
                # Else a crash could leave the name without the bytes.
                os.fsync(out.fileno())
                found = digest.hexdigest()
                if expected and found != expected:
                    raise IntegrityError(f"the file has sha256 {found}, the index promised {expected}")
                path = self._directory(found) / f"{found}.{size}"
                path.parent.mkdir(mode=0o700, exist_ok=True)
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return Blob(path, found, size)

    def note(self, key: str) -> Note | None:
        """Read the note kept under `key` (any string); None when there is none or it cannot be read."""
        try:
            return msgspec.json.decode(self._note_path(key).read_bytes(), type=Note)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def remember(self, key: str, note: Note) -> None:
        """Keep a note under `key`, in place of an older one."""
        path = self._note_path(key)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = self._incoming()
        with os.fdopen(handle, "wb") as out:
            out.write(msgspec.json.encode(note))
            out.flush()
            temporary.replace(path)

    def _incoming(self) -> tuple[int, Path]:
        """A new file, locked until its descriptor is closed: by then it must have its own name, or be gone."""
        while True:
            handle, name = tempfile.mkstemp(dir=self._root / "incoming")
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle, Path(name)
            # Before it was locked, somebody took it for a crashed one's.
            os.close(handle)

    def _remove_unfinished(self) -> None:
        """Remove what writers that have crashed left; the kernel has unlocked it."""
        for path in (self._root / "incoming").iterdir():
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Under the same name there is nothing else: names are random.
                path.unlink(missing_ok=True)

    def trim_when_due(self) -> None:
        """Trim, unless some process did so in the last ten minutes: looking at every blob takes a while."""
        marker = self._root / "trimmed"
        with suppress(FileNotFoundError):
            if time.time() - marker.stat().st_mtime < _TRIM_SECONDS:
                return
        marker.touch()
        self.trim()

    def trim(self) -> int:
        """Remove the least recently used blobs until the cap holds.

        Returns:
            How many bytes were removed.
        """
        limit = time.time() - _GRACE_SECONDS
        blobs = sorted(self._ages())
        excess, removed = sum(size for _, size, _ in blobs) - self._cap, 0
        for used, size, path in blobs:
            if removed >= excess or used >= limit:
                break
            path.unlink(missing_ok=True)
            removed += size
        return removed

    def _ages(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._files("sha256"):
            with suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path

    def _files(self, part: str) -> Iterator[Path]:
        return (path for path in (self._root / part).rglob("*") if path.is_file())

    def _directory(self, digest: str) -> Path:
        return self._root / "sha256" / digest[:2]

    def _note_path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return self._root / "notes" / digest[:2] / f"{digest}.json"


def _is_intact(path: Path, digest: str, size: int) -> bool:
    if path.suffix != f".{size}":
        return False
    if size >= _CHECKED_BYTES:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest
