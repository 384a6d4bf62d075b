"""What an index says about a project: its files, from PEP 691 JSON or a PEP 503 page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import msgspec

from sandbox.errors import IntakeError, UnavailableError
from sandbox.intake.quoting import quoted
from sandbox.registry.errors import IntegrityError, NotFoundError, RegistryError, TooLargeError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.registry.fetch import IndexAnswer

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ProjectFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a project."""

    filename: str
    url: str
    sha256: str = ""
    """Empty when the index gives none."""
    requires_python: str = ""
    yanked: bool = False
    yanked_reason: str = ""


class Source(Protocol):
    """What the intake needs of `sandbox.registry.fetch.Fetcher`."""

    @property
    def index_urls(self) -> tuple[str, ...]:
        """Every configured index, without credentials."""

    def page(self, url: str) -> IndexAnswer:
        """One index page by its address."""

    def file(self, url: str, sha256: str = "") -> Path:
        """A verified copy of a file."""


class _JsonFile(msgspec.Struct, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = None
    yanked: bool | str = False


class _JsonPage(msgspec.Struct):
    files: list[_JsonFile]


def project_files(source: Source, name: str) -> tuple[ProjectFile, ...]:
    """Every file of a project in all configured indexes, which pip takes together too.

    Args:
        source: The fetcher.
        name: Normalised name of the project.

    Raises:
        IntakeError: The project is unknown, or an index cannot be asked or understood.
    """
    found: dict[str, ProjectFile] = {}
    known = False
    for base in source.index_urls:
        page = _page(source, base, name)
        known = known or page is not None
        for file in page or ():
            found.setdefault(file.filename, file)
    if not known:
        raise IntakeError(f"no package {quoted(name)} on {' or '.join(source.index_urls)}; check the name")
    return tuple(found.values())


def _page(source: Source, base: str, name: str) -> tuple[ProjectFile, ...] | None:
    """The files that one index names, or None when it does not know the project."""
    try:
        answer = source.page(f"{base}/{name}/")
        return parse_page(answer.body, answer.content_type, answer.url)
    except NotFoundError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise UnavailableError(f"the package index {base} refuses us: {error}") from error
    except UnreachableError as error:
        raise UnavailableError(
            f"the package index {base} cannot be asked: {error}; check the network, PIP_INDEX_URL and PIP_CERT"
        ) from error
    except RegistryError as error:
        raise UnavailableError(
            f"the package index {base} gave no usable answer: {error}; check PIP_INDEX_URL"
        ) from error
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise UnavailableError(f"{base} did not answer with an index page ({error}); check PIP_INDEX_URL") from error


def download(source: Source, file: ProjectFile) -> Path:
    """A copy of a file, verified against the digest that the index gives.

    Raises:
        IntakeError: It cannot be fetched, or its digest is another.
    """
    host = urlsplit(file.url).hostname or ""
    try:
        return source.file(file.url, file.sha256)
    except IntegrityError as error:
        raise UnavailableError(
            f"hash mismatch: {quoted(file.filename)} from {host} is not the file that the index names; try again, "
            "and if it stays so do not trust this index or mirror"
        ) from error
    except NotFoundError as error:
        raise UnavailableError(
            f"{host} does not have {quoted(file.filename)} though the index names it; try later"
        ) from error
    except TooLargeError as error:
        raise IntakeError(f"{quoted(file.filename)} cannot be fetched from {host}: {error}") from error
    except RegistryError as error:
        raise UnavailableError(
            f"{quoted(file.filename)} cannot be fetched from {host}: {error}; check the network"
        ) from error


def parse_page(body: bytes, content_type: str, url: str) -> tuple[ProjectFile, ...]:
    """Read an index page.

    Args:
        body: The page.
        content_type: Its media type.
        url: Where it was finally read from; relative links start there.

    Raises:
        ValueError: It says it is JSON and is not an index page.
    """
    files = _json(body, url) if "json" in content_type.lower() else _html(body, url)
    return tuple(file for file in files if urlsplit(file.url).scheme in {"http", "https"} and file.filename)


def _json(body: bytes, url: str) -> list[ProjectFile]:
    page = msgspec.json.decode(body, type=_JsonPage)
    return [
        ProjectFile(
            filename=file.filename,
            url=_absolute(url, file.url),
            sha256=_digest(file.hashes.get("sha256", "")),
            requires_python=file.requires_python or "",
            yanked=file.yanked is not False,
            yanked_reason=file.yanked if isinstance(file.yanked, str) else "",
        )
        for file in page.files
    ]


class _Anchors(HTMLParser):
    """The attributes of every link, and the page's base address."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.anchors: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "base" and not self.base:
            self.base = dict(attrs).get("href") or ""
        elif tag == "a":
            self.anchors.append(dict(attrs))


def _html(body: bytes, url: str) -> list[ProjectFile]:
    parser = _Anchors()
    parser.feed(body.decode("utf-8", "replace"))
    parser.close()
    base = _absolute(url, parser.base) if parser.base else url
    files = []
    for attributes in parser.anchors:
        address, fragment = urldefrag(_absolute(base, attributes.get("href") or ""))
        path = address and urlsplit(address).path
        algorithm, _, digest = fragment.partition("=")
        files.append(
            ProjectFile(
                filename=unquote(path.rpartition("/")[2]),
                url=address,
                sha256=_digest(digest) if algorithm == "sha256" else "",
                requires_python=attributes.get("data-requires-python") or "",
                yanked="data-yanked" in attributes,
                yanked_reason=attributes.get("data-yanked") or "",
            )
        )
    return files


def _absolute(base: str, link: str) -> str:
    """The link's full address; empty when it is no address at all."""
    try:
        return urljoin(base, link.strip())
    except ValueError:
        return ""


def _digest(text: str) -> str:
    lowered = text.lower()
    return lowered if _SHA256.fullmatch(lowered) else ""
