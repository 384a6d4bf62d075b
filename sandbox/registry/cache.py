"""A directory of bytes by digest, plus small notes saying which URL gave which bytes.

Layout: `sha256/ab/<digest>` (blobs), `notes/cd/<sha256 of key>.json` (`Note`), `incoming/` (downloads under way).
Several processes may share it: everything appears by an atomic rename, and nothing is changed in place.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sandbox.registry.errors import IntegrityError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEFAULT_CAP = 5 * 1024**3
_GRACE_SECONDS = 900.0
_TRIM_SECONDS = 600.0
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

    def blob(self, digest: str) -> Blob | None:
        """Find bytes by their sha256 (lower-case hex) and mark them as used; None when they are not here."""
        if not _DIGEST.fullmatch(digest):
            return None
        path = self._blob_path(digest)
        try:
            os.utime(path)
            return Blob(path, digest, path.stat().st_size)
        except FileNotFoundError:
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
        handle, name = tempfile.mkstemp(dir=self._root / "incoming")
        temporary = Path(name)
        try:
            digest, size = hashlib.sha256(), 0
            with os.fdopen(handle, "wb") as out:
                for chunk in chunks:
                    size += len(chunk)
                    if size > max_bytes:
                        raise TooLargeError(f"the answer is larger than {max_bytes} bytes, the bound for one download")
                    digest.update(chunk)
                    out.write(chunk)
            found = digest.hexdigest()
            if expected and found != expected:
                raise IntegrityError(f"the file has sha256 {found}, the index promised {expected}")
            path = self._blob_path(found)
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
        handle, name = tempfile.mkstemp(dir=self._root / "incoming")
        with os.fdopen(handle, "wb") as out:
            out.write(msgspec.json.encode(note))
        Path(name).replace(path)

    def trim_when_due(self) -> None:
        """Trim, unless some process did so in the last ten minutes: looking at every blob takes a while."""
        marker = self._root / "trimmed"
        with suppress(FileNotFoundError):
            if time.time() - marker.stat().st_mtime < _TRIM_SECONDS:
                return
        marker.touch()
        self.trim()

    def trim(self) -> int:
        """Remove the least recently used blobs until the cap holds, and downloads that nobody finished.

        Returns:
            How many bytes were removed.
        """
        limit = time.time() - _GRACE_SECONDS
        for stale in self._files("incoming"):
            with suppress(FileNotFoundError):
                if stale.stat().st_mtime < limit:
                    stale.unlink()
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

    def _blob_path(self, digest: str) -> Path:
        return self._root / "sha256" / digest[:2] / digest

    def _note_path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return self._root / "notes" / digest[:2] / f"{digest}.json"
