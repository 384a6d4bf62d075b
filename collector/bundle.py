"""Opens a sealed evidence bundle, proves that it is whole, and reads its files within bounds."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

import msgspec
import zstandard

from collector.errors import BundleError
from collector.manifest import BUNDLE_SCHEMA, PHASES, Bait, FileEntry, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST: Final = "manifest.json"
BAIT: Final = "bait.json"
GATEWAY: Final = "gateway.jsonl.zst"

MAX_CONTENT: Final = 1 << 30
"""Most bytes that one file of a bundle may hold uncompressed."""
MAX_LINE: Final = 32 << 20
"""Longest line in bytes. The gateway's largest record holds a body in base64: 1 MiB with the shipped profile (1.4 MiB
encoded), 16 MiB with the most generous one."""
_MAX_DOCUMENT: Final = 64 << 20
_MAX_WINDOW: Final = 64 << 20
_CHUNK: Final = 1 << 16
_FEED: Final = 1 << 8
"""Compressed bytes given to zstd at once: a block of 4 bytes can hold 128 KiB, so one step makes at most 8 MiB."""

_LATEST: Final = 1e11
"""No run begins later, in seconds since the epoch."""

_T = TypeVar("_T")


class _Versioned(msgspec.Struct):
    """The one field that every version of a manifest has."""

    schema: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """One run's evidence: every file was listed, in place and unaltered when the bundle was opened."""

    path: Path
    manifest: Manifest
    bait: tuple[Bait, ...]

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read the manifest at `path` and check every file against it.

        Raises:
            BundleError: It is not a sealed bundle of a version that we know, or a file is missing, altered or added.
        """
        names = _content(path)
        manifest = _manifest(path / MANIFEST)
        _check_phases(path, manifest)
        _check_names(path, names, manifest)
        for name, entry in sorted(manifest.files.items()):
            _check_file(path, name, entry)
        bait = _decode(_read(path / BAIT, _MAX_DOCUMENT), tuple[Bait, ...], f"{path}: {BAIT}")
        return cls(path, manifest, bait)

    def has(self, name: str) -> bool:
        """Whether the bundle holds the file `name`."""
        return name in self.manifest.files

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the uncompressed bytes of `name` in order, in pieces of any size.

        Raises:
            BundleError: No such file, broken compression, or more than `MAX_CONTENT` bytes.
        """
        if not self.has(name):
            raise BundleError(f"{self.path}: the bundle holds no file {name!r}")
        total = 0
        with _open(self.path / name) as stream:
            for chunk in _inflate(stream, f"{self.path}: {name}") if name.endswith(".zst") else _pieces(stream, _CHUNK):
                total += len(chunk)
                if total > MAX_CONTENT:
                    raise BundleError(f"{self.path}: {name} holds more than {MAX_CONTENT >> 20} MiB; it is not read")
                yield chunk

    def lines(self, name: str) -> Iterator[bytes]:
        """Give the lines of `name` without their newline; a last line without newline counts.

        Raises:
            BundleError: As for `chunks`, or a line is longer than `MAX_LINE`.
        """
        return chain.from_iterable(self._lines(name))

    def _lines(self, name: str) -> Iterator[list[bytes]]:
        pending = bytearray()
        for chunk in self.chunks(name):
            head, newline, rest = chunk.partition(b"\n")
            pending += head
            if newline:
                yield [bytes(pending)]
                *whole, last = rest.split(b"\n")
                yield whole
                pending = bytearray(last)
            if len(pending) > MAX_LINE:
                raise BundleError(f"{self.path}: a line of {name} is longer than {MAX_LINE >> 20} MiB; it is not read")
        if pending:
            yield [bytes(pending)]

    def text(self, name: str) -> str:
        """Return the whole of `name` as UTF-8; bytes that are not become U+FFFD.

        Raises:
            BundleError: As for `chunks`, or there is more than a document's worth of text.
        """
        content = bytearray()
        for chunk in self.chunks(name):
            content += chunk
            if len(content) > _MAX_DOCUMENT:
                raise BundleError(f"{self.path}: {name} is longer than {_MAX_DOCUMENT >> 20} MiB; read it by lines")
        return content.decode("utf-8", "replace")


def _content(path: Path) -> set[str]:
    """Names of all files below `path`; anything that is neither file nor directory is refused."""
    names: set[str] = set()
    pending = [""]
    try:
        if not path.exists():
            of_service = "for a run of the service, `fumehood store export RUN` first"
            raise BundleError(f"{path}: no such directory; give the one that `fumehood run` named last; {of_service}")
        if not path.is_dir():
            unpacked = "; unpack it first" if path.suffix == ".zip" else ""
            raise BundleError(
                f"{path}: this is a file; an evidence bundle is a directory with {MANIFEST} in it{unpacked}"
            )
        # Looked at before all else, as any directory may be given by mistake, and be large.
        if not (path / MANIFEST).is_file():
            advice = "give the directory that `fumehood run` named last"
            raise BundleError(f"{path}: not a sealed bundle, as it has no {MANIFEST}; {advice}")
        while pending:
            folder = pending.pop()
            with os.scandir(path / folder) as entries:
                for entry in entries:
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(name)
                    elif entry.is_file(follow_symlinks=False):
                        names.add(name)
                    else:
                        raise BundleError(f"{path}: {name!r} is a link or a special file; a bundle holds only files")
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    return names


def _manifest(path: Path) -> Manifest:
    content = _read(path, _MAX_DOCUMENT)
    schema = _decode(content, _Versioned, str(path)).schema
    if schema != BUNDLE_SCHEMA:
        raise BundleError(
            f"{path}: the bundle has the version {schema!r} and this fumehood reads {BUNDLE_SCHEMA!r}; "
            "read it with the fumehood that made it, or run the package again"
        )
    return _decode(content, Manifest, str(path))


def _check_phases(path: Path, manifest: Manifest) -> None:
    """Phases that no run can have: rules and the clock would pass over what happened in them."""
    seen: set[str] = set()
    for phase in manifest.phases:
        if phase.name not in PHASES:
            raise BundleError(f"{path}: the manifest has a phase {phase.name[:40]!r}, which is not known here")
        if phase.name in seen:
            raise BundleError(f"{path}: the manifest has the phase {phase.name!r} twice")
        seen.add(phase.name)
        if phase.trace and not phase.argv:
            raise BundleError(f"{path}: the manifest names a trace and no command for the phase {phase.name!r}")
        coverage = phase.coverage
        counts = (phase.survivors, coverage.planned, coverage.reached) if coverage else (phase.survivors,)
        if min(phase.started, phase.ended, *counts) < 0 or max(phase.started, phase.ended) > _LATEST:
            raise BundleError(f"{path}: the manifest has impossible times or counts for the phase {phase.name!r}")


def _check_names(path: Path, names: set[str], manifest: Manifest) -> None:
    for name in sorted(manifest.files):
        if name == MANIFEST or any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in name:
            raise BundleError(f"{path}: the manifest lists {name[:200]!r}, which is not a name inside the bundle")
        if name not in names:
            raise BundleError(f"{path}: {name[:200]!r} is listed in the manifest but missing; the bundle is not whole")
    for name in sorted(names - set(manifest.files) - {MANIFEST}):
        raise BundleError(f"{path}: {name!r} is not listed in the manifest; remove it: a sealed bundle is not added to")
    wanted = [BAIT, GATEWAY, *(phase.trace for phase in manifest.phases if phase.trace)]
    for name in wanted:
        if name not in manifest.files:
            raise BundleError(
                f"{path}: the manifest does not list {name[:200]!r}, which it needs; the bundle is not whole"
            )


def _check_file(path: Path, name: str, entry: FileEntry) -> None:
    digest = hashlib.sha256()
    size = 0
    with _open(path / name) as stream:
        for chunk in _pieces(stream, _CHUNK):
            size += len(chunk)
            digest.update(chunk)
            if size > entry.size:
                break
    if size != entry.size:
        raise BundleError(f"{path}: {name!r} has not the size of {entry.size} bytes in the manifest; it was altered")
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"{path}: {name!r} has not the sha256 in the manifest; it was altered")


def _open(path: Path) -> BinaryIO:
    """Open a regular file for reading, never through a link and never waiting for a pipe's writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    stream = open(descriptor, "rb")  # noqa: SIM115, PTH123 - the caller closes it
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise BundleError(f"{path}: not a regular file")
    return stream


def _read(path: Path, most: int) -> bytes:
    with _open(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise BundleError(f"{path}: larger than {most >> 20} MiB; it is not read")
    return content


def _decode(content: bytes, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(
            f"{where}: not as it must be: {error}; the bundle is damaged or of another version"
        ) from error


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while piece := stream.read(size):
        yield piece


def _inflate(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """Decompress one or more zstd frames; an end in the middle of a frame is an error, not an end."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    frame = None
    try:
        for piece in _pieces(stream, _FEED):
            rest = piece
            while rest:
                frame = frame or decompressor.decompressobj()
                yield frame.decompress(rest)
                rest, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as error:
        raise BundleError(f"{where}: not readable as zstd: {error}") from error
    if frame is not None:
        raise BundleError(f"{where}: ends in the middle of its compressed data")
