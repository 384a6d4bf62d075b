"""Writes an evidence bundle: raw files, compressed, digests in the manifest, sealed by one atomic rename."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import zstandard

from collector.manifest import FileEntry, Manifest
from sandbox.errors import UsageError
from sandbox.partial import PartialDirectory, sync

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_LEVEL = 3
_SYNCS_AT_ONCE = 16


class BundleWriter:
    """A directory beside the bundles that becomes one when it is sealed, and vanishes when it is not."""

    def __init__(self, bundles: Path, run: str) -> None:
        """Prepare the directory `<bundles>/<run>.partial`.

        Args:
            bundles: Directory of all bundles; made when missing.
            run: Id of the run.
        """
        self._bundles = bundles
        try:
            self._partial = PartialDirectory(bundles, run)
        except OSError as error:
            where = "set FUMEHOOD_BUNDLES to a directory that you can write to"
            raise UsageError(f"bundles cannot be written to {bundles}: {error.strerror}; {where}") from error
        self.directory = self._partial.path
        self._files: dict[str, FileEntry] = {}

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not sealed."""
        self._partial.remove()

    def add(self, name: str, content: bytes) -> None:
        """Add a file; compressed when `name` ends in `.zst`."""
        path = self.directory / "sealed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zstandard.ZstdCompressor(level=_LEVEL).compress(content) if name.endswith(".zst") else content)
        self._enter(name, path)

    def add_file(self, name: str, source: Path) -> None:
        """Add the content of a file of ours, streamed and compressed; an absent one counts as empty."""
        path = self.directory / "sealed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not source.exists():
            source.touch()
        with source.open("rb") as plain, path.open("wb") as packed:
            zstandard.ZstdCompressor(level=_LEVEL, threads=0).copy_stream(plain, packed, size=source.stat().st_size)
        self._enter(name, path)

    def _enter(self, name: str, path: Path) -> None:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self._files[name] = FileEntry(sha256=digest, size=path.stat().st_size)

    def seal(self, manifest: Manifest, name: str) -> Path:
        """Write the manifest, last, and rename the bundle into place.

        Args:
            manifest: Complete but for `files`.
            name: Wanted name of the bundle's directory.

        Returns:
            The bundle's directory.
        """
        sealed = self.directory / "sealed"
        manifest = msgspec.structs.replace(manifest, files=dict(sorted(self._files.items())))
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (sealed / "manifest.json").write_bytes(text + b"\n")
        with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
            # At once, as each waits for the disk: one after the other they would be a tenth of a short run.
            list(pool.map(sync, (*sealed.rglob("*"), sealed)))
        target = self._bundles / name
        sealed.rename(target)
        sync(self._bundles)
        return target
