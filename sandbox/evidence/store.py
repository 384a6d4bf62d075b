"""What every evidence store does, and what it notes beside a bundle."""

from __future__ import annotations

import hashlib
import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from collector.bundle import MANIFEST, Bundle
from collector.errors import BundleError
from sandbox.errors import EvidenceDamagedError, EvidenceError, EvidenceMissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

SEAL: Final = "seal.json"
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_RUN: Final = re.compile("[0-9a-z]{8,32}")
_MAX_SEAL: Final = 64 * 1024


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a store notes of a bundle when it takes it in: the manifest's digest stands for everything in the bundle."""

    schema: Literal["fumehood.evidence/1"] = "fumehood.evidence/1"
    run: str
    manifest_sha256: str
    size: int
    """Bytes of all files as stored in the bundle, the manifest included."""
    archive_sha256: str = ""
    """Of the archive file that stands for the bundle, where it is kept as one."""


class EvidenceStore(Protocol):
    """Bundles by the id of their run. All methods raise `EvidenceError` when the place itself does not work."""

    def put(self, bundle: Path) -> Seal:
        """Take a copy of a sealed bundle, atomically; the caller may remove the original then.

        The same bundle may be put again. Another one for the same run is refused.

        Raises:
            BundleError: It is not a whole bundle.
            EvidenceError: Other evidence is stored for the run.
        """
        ...

    def seal(self, run: str) -> Seal:
        """What is noted of a bundle; its content is not looked at.

        Raises:
            EvidenceMissingError: No evidence of this run is stored.
        """
        ...

    def open(self, run: str) -> AbstractContextManager[Bundle]:
        """A bundle, every digest verified; its path is good for as long as the context lasts.

        Raises:
            EvidenceMissingError: No evidence of this run is stored.
            EvidenceDamagedError: It is not what was stored.
        """
        ...

    def archive(self, run: str) -> BinaryIO:
        """The bundle as one zip file, verified: the same bytes each time, from whichever store.

        Returns:
            An unnamed temporary file at its beginning, which the caller closes.

        Raises:
            EvidenceMissingError: No evidence of this run is stored.
            EvidenceDamagedError: It is not what was stored.
        """
        ...

    def keep_upload(self, file: Path, sha256: str) -> None:
        """Keep an artefact that somebody sent, by its digest, so that every host can run it."""
        ...

    def keeps_upload(self, sha256: str) -> bool:
        """Whether such an artefact is kept."""
        ...

    def fetch_upload(self, sha256: str, target: Path) -> None:
        """Write such an artefact to a file, whole or not at all. Its content is not verified: whoever runs it does.

        Raises:
            EvidenceMissingError: No such artefact is kept.
        """
        ...

    def uploads(self) -> Iterator[tuple[str, float]]:
        """Digests of all artefacts that are kept, and when each was last sent, in seconds since the epoch."""
        ...

    def drop_upload(self, sha256: str) -> None:
        """Remove an artefact; nothing happens when there is none."""
        ...

    def runs(self, after: str = "") -> Iterator[str]:
        """Ids of all runs whose evidence is here, in order; only those that come after `after`."""
        ...

    def delete(self, run: str) -> bool:
        """Remove a bundle; whether there was one."""
        ...


def check_run(run: str) -> str:
    """The id, when it is one: it becomes part of paths.

    Raises:
        UsageError: It is not.
    """
    if not is_run(run):
        raise UsageError(f"{run[:40]!a} is not the id of a run; `fumehood store search` lists them")
    return run


def is_run(name: str) -> bool:
    """Whether a name in a store can be that of a run; others may lie there for reasons that are not ours."""
    return _RUN.fullmatch(name) is not None


def read_seal(content: bytes, run: str) -> Seal:
    """Decode a seal that was stored for `run`.

    Raises:
        EvidenceDamagedError: It is not one.
    """
    try:
        seal = msgspec.json.decode(content[:_MAX_SEAL], type=Seal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(run, f"its seal cannot be read: {error}") from error
    if seal.run != run:
        raise damaged(run, f"its seal is of the run {seal.run[:40]!a}")
    return seal


def is_digest(name: str) -> bool:
    """Whether this is a SHA-256 in hexadecimal digits."""
    return _DIGEST.fullmatch(name) is not None


def check_digest(sha256: str) -> str:
    """A digest, when it is one: it becomes part of paths.

    Raises:
        UsageError: It is not.
    """
    if not _DIGEST.fullmatch(sha256):
        raise UsageError(f"{sha256[:70]!a} is no sha256 in hexadecimal digits")
    return sha256


@contextmanager
def arriving(target: Path) -> Iterator[Path]:
    """A new file beside `target`, which becomes it when nothing went wrong."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".incoming-{secrets.token_hex(8)}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def no_upload(sha256: str, where: str) -> EvidenceMissingError:
    """The error for an artefact that is not kept."""
    return EvidenceMissingError(f"the upload {sha256} is not kept in {where}; submit the file again")


def make_seal(bundle: Bundle, archive_sha256: str = "") -> Seal:
    """The seal for a bundle that was just opened."""
    content = (bundle.path / MANIFEST).read_bytes()
    return Seal(
        run=check_run(bundle.manifest.run),
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        size=len(content) + sum(entry.size for entry in bundle.manifest.files.values()),
        archive_sha256=archive_sha256,
    )


def open_sealed(path: Path, seal: Seal) -> Bundle:
    """Open a stored bundle and hold it against its seal.

    Raises:
        EvidenceDamagedError: A file, or the manifest itself, is not what was stored.
    """
    with damage_told(seal.run):
        bundle = Bundle.open(path)
        if make_seal(bundle, seal.archive_sha256) != seal:
            raise damaged(seal.run, "its manifest is not the one that was stored")
    return bundle


@contextmanager
def damage_told(run: str) -> Iterator[None]:
    """Turn what is wrong with a stored bundle into the one error for it."""
    try:
        yield
    except BundleError as error:
        raise damaged(run, str(error)) from error


def damaged(run: str, what: str) -> EvidenceDamagedError:
    """The error for evidence that is not what was stored."""
    return EvidenceDamagedError(
        f"the evidence of run {run} is damaged: {what}; restore it from a backup, or run the package again"
    )


def occupied(run: str) -> EvidenceError:
    """The error for a second, other bundle of the same run."""
    return EvidenceError(
        f"other evidence is stored for run {run} already, and evidence is never written over; "
        "delete it first if this one shall stand for the run"
    )
