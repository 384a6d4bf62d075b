"""Evidence in an S3-compatible store: a bundle is one zip file, and counts once its seal is there.

`archives/<run>/<sha256 of the archive>.zip` may be written by anybody any number of times, as its name says what is in
it. `sealed/<run>.json` is made only where there is none: of two bundles for one run, one stands.
"""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from collector.bundle import Bundle
from sandbox.errors import EvidenceError, EvidenceMissingError
from sandbox.evidence.archive import CHUNK, pack, unpack
from sandbox.evidence.store import (
    arriving,
    check_digest,
    check_run,
    damage_told,
    damaged,
    is_digest,
    is_run,
    make_seal,
    no_upload,
    occupied,
    open_sealed,
    read_seal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from obstore.store import ObjectStore

    from sandbox.evidence.store import Seal

_SEALED: Final = "sealed/"
_UPLOADS: Final = "uploads/"
_SAID: Final = 300
"""Most characters of what a store said when it failed."""


class ObjectsStore:
    """Evidence in a store of objects."""

    def __init__(self, objects: ObjectStore, where: str) -> None:
        """Nothing is asked yet.

        Args:
            objects: The store, already below its prefix.
            where: What it is called in messages.
        """
        self._objects = objects
        self._where = where

    def put(self, bundle: Path) -> Seal:
        """See `EvidenceStore.put`."""
        opened = Bundle.open(bundle)
        with self._faults_told(), tempfile.TemporaryFile() as file:
            pack(opened, file)
            file.seek(0)
            seal = make_seal(opened, hashlib.file_digest(file, "sha256").hexdigest())
            file.seek(0)
            obstore.put(self._objects, _archive(seal), file)
            try:
                obstore.put(self._objects, _sealed(seal.run), msgspec.json.encode(seal), mode="create")
            except AlreadyExistsError:
                standing = self.seal(seal.run)
                if standing != seal:
                    obstore.delete(self._objects, _archive(seal))
                    raise occupied(seal.run) from None
        return seal

    def seal(self, run: str) -> Seal:
        """See `EvidenceStore.seal`."""
        with self._faults_told():
            try:
                content = obstore.get(self._objects, _sealed(check_run(run))).bytes()
            except FileNotFoundError as error:
                raise EvidenceMissingError(f"no evidence of run {run} is stored in {self._where}") from error
        return read_seal(bytes(content), run)

    @contextmanager
    def open(self, run: str) -> Iterator[Bundle]:
        """See `EvidenceStore.open`. The bundle is fetched into a temporary directory."""
        seal = self.seal(run)
        with tempfile.TemporaryDirectory(prefix="fumehood-") as directory:
            with self._fetched(seal) as file, damage_told(run):
                unpack(file, run, Path(directory))
            yield open_sealed(Path(directory), seal)

    def archive(self, run: str) -> BinaryIO:
        """See `EvidenceStore.archive`. It is kept as this file."""
        return self._fetched(self.seal(run))

    def keep_upload(self, file: Path, sha256: str) -> None:
        """See `EvidenceStore.keep_upload`."""
        with self._faults_told(), file.open("rb") as stream:
            obstore.put(self._objects, _upload(sha256), stream)

    def keeps_upload(self, sha256: str) -> bool:
        """See `EvidenceStore.keeps_upload`."""
        with self._faults_told():
            try:
                obstore.head(self._objects, _upload(sha256))
            except FileNotFoundError:
                return False
        return True

    def fetch_upload(self, sha256: str, target: Path) -> None:
        """See `EvidenceStore.fetch_upload`."""
        with self._faults_told():
            try:
                answer = obstore.get(self._objects, _upload(sha256))
            except FileNotFoundError:
                raise no_upload(sha256, self._where) from None
            with arriving(target) as temporary, temporary.open("xb") as file:
                for piece in answer.stream(min_chunk_size=CHUNK):
                    file.write(piece)

    def uploads(self) -> Iterator[tuple[str, float]]:
        """See `EvidenceStore.uploads`."""
        with self._faults_told():
            for batch in obstore.list(self._objects, prefix=_UPLOADS):
                for entry in batch:
                    name = entry["path"].rpartition("/")[2]
                    if is_digest(name):
                        yield name, entry["last_modified"].timestamp()

    def drop_upload(self, sha256: str) -> None:
        """See `EvidenceStore.drop_upload`."""
        with self._faults_told():
            obstore.delete(self._objects, _upload(sha256))

    def runs(self, after: str = "") -> Iterator[str]:
        """See `EvidenceStore.runs`."""
        with self._faults_told():
            stream = obstore.list(self._objects, prefix=_SEALED, offset=_sealed(after) if after else None)
            names = [Path(entry["path"]).stem for batch in stream for entry in batch]
        yield from sorted(filter(is_run, names))

    def delete(self, run: str) -> bool:
        """See `EvidenceStore.delete`. The seal goes first: without it the archive is nothing."""
        try:
            self.seal(run)
        except EvidenceMissingError:
            return False
        with self._faults_told():
            obstore.delete(self._objects, _sealed(run))
            batches = obstore.list(self._objects, prefix=f"archives/{run}/")
            obstore.delete(self._objects, [entry["path"] for batch in batches for entry in batch])
        return True

    def _fetched(self, seal: Seal) -> BinaryIO:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            self._fetch(seal, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def _fetch(self, seal: Seal, file: BinaryIO) -> None:
        digest = hashlib.sha256()
        with self._faults_told():
            try:
                answer = obstore.get(self._objects, _archive(seal))
            except FileNotFoundError:
                raise damaged(seal.run, "its archive is gone") from None
            for piece in answer.stream(min_chunk_size=CHUNK):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != seal.archive_sha256:
            raise damaged(seal.run, "its archive has not the sha256 that was stored")

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0][:_SAID]
            advice = "check its address, the credentials (AWS_…) and that the bucket is there"
            raise EvidenceError(f"the evidence store {self._where} fails: {said}; {advice}") from error


def _archive(seal: Seal) -> str:
    return f"archives/{seal.run}/{seal.archive_sha256}.zip"


def _sealed(run: str) -> str:
    return f"{_SEALED}{run}.json"


def _upload(sha256: str) -> str:
    return f"{_UPLOADS}{check_digest(sha256)}"
