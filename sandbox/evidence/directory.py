"""Evidence in a directory: `<first two characters>/<run>/` holds the seal and the bundle as it was made."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from collector.bundle import Bundle
from sandbox.errors import EvidenceError, EvidenceMissingError
from sandbox.evidence.archive import pack, stored_files
from sandbox.evidence.store import (
    SEAL,
    arriving,
    check_digest,
    check_run,
    damage_told,
    is_digest,
    is_run,
    make_seal,
    no_upload,
    occupied,
    open_sealed,
    read_seal,
)
from sandbox.partial import PartialDirectory, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from sandbox.evidence.store import Seal

_INCOMING: Final = ".incoming"
_UPLOADS: Final = ".uploads"
_BUNDLE: Final = "bundle"
_PREFIX: Final = 2
_SYNCS_AT_ONCE: Final = 16


class DirectoryStore:
    """Evidence below one directory of this machine, or of a file system that several share."""

    def __init__(self, root: Path) -> None:
        """Nothing is made before the first bundle comes in."""
        self._root = root

    def put(self, bundle: Path) -> Seal:
        """See `EvidenceStore.put`. Complete beside the others first, then renamed: there as a whole or not at all."""
        opened = Bundle.open(bundle)
        seal = make_seal(opened)
        place = self._place(seal.run)
        if place.exists():
            return self._same(seal)
        with self._faults_told():
            incoming = PartialDirectory(self._root / _INCOMING, f"{seal.run}-{secrets.token_hex(4)}")
            try:
                whole = incoming.path / "whole"
                whole.mkdir(mode=0o700)
                _copy(opened, whole / _BUNDLE)
                (whole / SEAL).write_bytes(msgspec.json.encode(seal) + b"\n")
                _sync_all(whole)
                place.parent.mkdir(exist_ok=True)
                try:
                    whole.rename(place)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    # Somebody else was quicker.
                    return self._same(seal)
                sync(place.parent)
                sync(self._root)
            finally:
                incoming.remove()
        return seal

    def seal(self, run: str) -> Seal:
        """See `EvidenceStore.seal`."""
        path = self._place(run) / SEAL
        with self._faults_told():
            try:
                content = path.read_bytes()
            except FileNotFoundError as error:
                raise EvidenceMissingError(f"no evidence of run {run} is stored in {self._root}") from error
        return read_seal(content, run)

    @contextmanager
    def open(self, run: str) -> Iterator[Bundle]:
        """See `EvidenceStore.open`. The bundle is read where it lies."""
        yield open_sealed(self._place(run) / _BUNDLE, self.seal(run))

    def archive(self, run: str) -> BinaryIO:
        """See `EvidenceStore.archive`."""
        with self.open(run) as bundle, damage_told(run), self._faults_told():
            file = tempfile.TemporaryFile(dir=self._root)  # noqa: SIM115 - the caller closes it
            try:
                pack(bundle, file)
            except BaseException:
                file.close()
                raise
        file.seek(0)
        return file

    def keep_upload(self, file: Path, sha256: str) -> None:
        """See `EvidenceStore.keep_upload`. On the same file system it takes no further room."""
        with self._faults_told():
            target = self._upload(sha256)
            if not target.exists():
                with arriving(target) as temporary:
                    _link_or_copy(file, temporary)
            # Wanted again, it is as good as new; a hard link has its file's time.
            os.utime(target)

    def keeps_upload(self, sha256: str) -> bool:
        """See `EvidenceStore.keeps_upload`."""
        with self._faults_told():
            return self._upload(sha256).exists()

    def fetch_upload(self, sha256: str, target: Path) -> None:
        """See `EvidenceStore.fetch_upload`."""
        with self._faults_told():
            kept = self._upload(sha256)
            if not kept.exists():
                raise no_upload(sha256, str(self._root))
            with arriving(target) as temporary:
                _link_or_copy(kept, temporary)

    def uploads(self) -> Iterator[tuple[str, float]]:
        """See `EvidenceStore.uploads`."""
        with self._faults_told():
            for path in sorted((self._root / _UPLOADS).glob("*/*")):
                if is_digest(path.name):
                    yield path.name, path.stat().st_mtime

    def drop_upload(self, sha256: str) -> None:
        """See `EvidenceStore.drop_upload`."""
        with self._faults_told():
            self._upload(sha256).unlink(missing_ok=True)

    def runs(self, after: str = "") -> Iterator[str]:
        """See `EvidenceStore.runs`."""
        with self._faults_told():
            folders = sorted(path for path in self._root.glob("[0-9a-z]" * _PREFIX) if path.name >= after[:_PREFIX])
            for folder in folders:
                yield from sorted(path.name for path in folder.iterdir() if path.name > after and is_run(path.name))

    def delete(self, run: str) -> bool:
        """See `EvidenceStore.delete`. Out of the way at once, by a rename; what a crash leaves goes with the next."""
        place = self._place(run)
        if not place.exists():
            return False
        with self._faults_told():
            outgoing = PartialDirectory(self._root / _INCOMING, f"{run}-{secrets.token_hex(4)}")
            try:
                place.rename(outgoing.path / run)
            except FileNotFoundError:
                return False
            finally:
                outgoing.remove()
            sync(place.parent)
        return True

    def _place(self, run: str) -> Path:
        return self._root / check_run(run)[:_PREFIX] / run

    def _upload(self, sha256: str) -> Path:
        return self._root / _UPLOADS / check_digest(sha256)[:_PREFIX] / sha256

    def _same(self, seal: Seal) -> Seal:
        if self.seal(seal.run) != seal:
            raise occupied(seal.run)
        return seal

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = "free some space, or `fumehood store prune`" if full else "make it readable and writable for you"
            raise EvidenceError(f"the evidence store {self._root} fails: {error.strerror}; {advice}") from error


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, target)


def _copy(bundle: Bundle, target: Path) -> None:
    for name, pieces in stored_files(bundle):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            stream.writelines(pieces)


def _sync_all(directory: Path) -> None:
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(sync, (*directory.rglob("*"), directory)))
