"""From what the user wrote, a purl or a path, to the artefact that will run."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog
from packageurl import PackageURL
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from collector.manifest import Package
from sandbox.errors import IntakeError, UnavailableError
from sandbox.intake.archive import SUFFIXES, Choice, Kind, check_kind, identify, inspect
from sandbox.intake.choose import choose
from sandbox.intake.index import Source, download, project_files
from sandbox.intake.private import keep
from sandbox.intake.quoting import quoted
from sandbox.intake.target import Target
from sandbox.registry.cache import Cache
from sandbox.registry.errors import RegistryError
from sandbox.registry.fetch import Fetcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.intake.pip_config import PipConfiguration

_FORM = "write pkg:pypi/NAME@VERSION, or give the path of a wheel or sdist"
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})(?:(?:==|@)([A-Za-z0-9.!+]{1,50}))?")
"""What people write for pip."""


class Artefact(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes that will run, checked, and what they say about themselves."""

    path: Path
    """A private copy, `<copies>/<sha256>/<filename>`."""
    filename: str
    sha256: str
    kind: Kind
    name: str
    """Normalised."""
    version: str
    purl: str
    origin: Literal["index", "file"]
    requires: tuple[str, ...] = ()
    """Requirements that hold on the image without extras: `name[extras]specifier`, nothing else, safe for pip."""
    notes: tuple[str, ...] = ()
    """What a reader of the report should know, one sentence each."""

    def package(self) -> Package:
        """The same for the bundle's manifest."""
        return Package(
            purl=self.purl,
            ecosystem="pypi",
            name=self.name,
            version=self.version,
            filename=self.filename,
            sha256=self.sha256,
            kind=self.kind,
            origin=self.origin,
        )


def resolve(  # noqa: PLR0913 - one keyword for each thing that decides
    text: str,
    *,
    artefact: Choice = "auto",
    configuration: PipConfiguration,
    cache: Path,
    copies: Path,
    python: str,
) -> Artefact:
    """Find, fetch and check what the user asked for.

    Args:
        text: A purl, or the path of a local file.
        artefact: Which file of a release to take; not for local files.
        configuration: Where packages come from.
        cache: The cache directory; `registry` in it is used.
        copies: Private directory of the run, for the copy that will run; made when missing.
        python: Full version of the image's interpreter.

    Raises:
        IntakeError: There is no such thing, it cannot be fetched, or it is not an archive to run.
    """
    target = Target(python)
    if not text.startswith("pkg:"):
        return _local(_path(text), artefact, copies, target)
    purl = _purl(text)
    try:
        with Fetcher(configuration.fetch_settings(), Cache(cache / "registry")) as fetcher:
            return fetch(purl, artefact, fetcher, copies, target)
    except RegistryError as error:
        raise UnavailableError(f"the package index cannot be asked: {error}; check pip's configuration") from error


def normalise(text: str) -> str:
    """A purl as it is written everywhere: the same text for the same package. Nothing is asked of the index.

    Raises:
        IntakeError: It is not the purl of a package that we can run.
    """
    purl = _purl(text)
    version = str(_version(purl.version)) if purl.version else None
    return PackageURL("pypi", None, canonicalize_name(purl.name), version).to_string()


def keep_upload(
    text: str, choice: Choice, directory: Path, about: Callable[[str], None] = lambda _sha256: None
) -> tuple[str, str]:
    """Keep a file that is to be run later, by somebody else: `<directory>/<sha256>/<filename>`.

    Args:
        text: Its path.
        choice: What it has to be.
        directory: Of all uploads; made when missing.
        about: Told the digest before the file is kept.

    Returns:
        The file's name, and its digest.

    Raises:
        IntakeError: It is not a file that we can run.
    """
    path = _path(text)
    check_kind(path.name, choice)
    kept, sha256 = keep(path, directory, path.name, about)
    return kept.name, sha256


def fetch(purl: PackageURL, choice: Choice, source: Source, directory: Path, target: Target) -> Artefact:
    """Fetch and check one artefact of the index.

    Args:
        purl: Type `pypi`, checked.
        choice: Which file of a release to take.
        source: The fetcher.
        directory: Where private copies are kept.
        target: The interpreter that is to install it.

    Raises:
        IntakeError: As for `resolve`.
    """
    name = canonicalize_name(purl.name)
    version = _version(purl.version) if purl.version else None
    file = choose(project_files(source, name), name, version, choice, target)
    # The name is checked before anything is fetched or written under it.
    identify(file.filename)
    path, sha256 = keep(download(source, file), directory, file.filename)
    if file.sha256 and sha256 != file.sha256:
        raise UnavailableError(
            f"hash mismatch: {quoted(file.filename)} changed in the cache; delete the cache, try again"
        )
    notes = []
    if file.yanked:
        notes.append(f"this release is yanked: {quoted(file.yanked_reason)}")
    if not file.sha256:
        notes.append("the index gives no sha256 for this file, so its download was not verified")
    return _described(path, sha256, "index", target, tuple(notes))


def _local(path: Path, choice: Choice, directory: Path, target: Target) -> Artefact:
    check_kind(path.name, choice)
    copy, sha256 = keep(path, directory, path.name)
    return _described(copy, sha256, "file", target, ())


def _described(
    path: Path, sha256: str, origin: Literal["index", "file"], target: Target, notes: tuple[str, ...]
) -> Artefact:
    inspection = inspect(path, path.name, target)
    identity = inspection.identity
    described = Artefact(
        path=path,
        filename=path.name,
        sha256=sha256,
        kind=identity.kind,
        name=identity.name,
        version=identity.version,
        purl=PackageURL("pypi", None, identity.name, identity.version).to_string(),
        origin=origin,
        requires=inspection.requirements.indexed,
        notes=notes + inspection.notes,
    )
    structlog.get_logger(__name__).info("artefact", purl=described.purl, filename=described.filename, sha256=sha256)
    return described


def _path(text: str) -> Path:
    if "://" in text:
        raise IntakeError(f"{quoted(text)} is an address; download the file and give its path, or {_FORM}")
    if not text:
        raise IntakeError(f"no package is named; {_FORM}")
    path = Path(text)
    try:
        # A broken link or a FIFO is a path too, and gets its own message later.
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IntakeError(_nothing(text)) from error
    except OSError as error:
        raise IntakeError(f"{quoted(text)} cannot be read: {error.strerror}; check the path") from error
    if stat.S_ISDIR(mode):
        raise IntakeError(f"{quoted(text)} is a directory; give a wheel or sdist, such as `python -m build` makes")
    return path


def _nothing(text: str) -> str:
    """What to say when there is no such file: perhaps something else was meant."""
    if "/" in text or text.endswith(SUFFIXES):
        return f"there is no file {quoted(text)}; check the path"
    words = _REQUIREMENT.fullmatch(text)
    meant = f"write pkg:pypi/{'@'.join(filter(None, words.groups()))}" if words else _FORM
    return f"{quoted(text)} is neither a purl nor a file; {meant}"


def _purl(text: str) -> PackageURL:
    try:
        purl = PackageURL.from_string(text)
    except ValueError as error:
        raise IntakeError(f"{quoted(text)} is not a purl; {_FORM}") from error
    if purl.type != "pypi":
        raise IntakeError(f"{quoted(purl.type)} is not supported yet; {_FORM}")
    if purl.namespace or purl.qualifiers or purl.subpath:
        raise IntakeError(f"{quoted(text)} has parts that a PyPI package has not; {_FORM}")
    try:
        canonicalize_name(purl.name, validate=True)
    except ValueError as error:
        raise IntakeError(f"{quoted(purl.name)} cannot be a package's name; {_FORM}") from error
    return purl


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion as error:
        raise IntakeError(f"{quoted(text)} is not a version; write one such as pkg:pypi/NAME@1.2.3") from error
