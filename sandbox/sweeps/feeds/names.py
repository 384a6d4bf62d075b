"""From names and versions that others wrote to purls, strictly."""

from __future__ import annotations

import re
from typing import Final

from packageurl import PackageURL
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_LONGEST_NAME: Final = 214
_LONGEST_VERSION: Final = 100
_LONGEST: Final = 400
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\s*(?:==|@)\s*(\S+))?")


def purl_of(name: str, version: str = "") -> str:
    """The normalised purl of a PyPI package.

    Raises:
        ValueError: It cannot be the name of a project, or the version is none; the message says which.
    """
    if len(name) > _LONGEST_NAME:
        raise ValueError("longer than a name")
    try:
        project = str(canonicalize_name(name, validate=True))
    except ValueError as error:
        raise ValueError("not the name of a project") from error
    return PackageURL("pypi", None, project, _version(version) if version else None).to_string()


def parts_of(purl: str) -> tuple[str, str]:
    """Name and version (empty for none) of a purl that `purl_of` made."""
    parsed = PackageURL.from_string(purl)
    return parsed.name, parsed.version or ""


def read_package(text: str) -> str:
    """What a person wrote for a package: a purl, a name, `name==version` or `name@version`.

    Returns:
        The normalised purl.

    Raises:
        ValueError: It is none of these.
    """
    if len(text) > _LONGEST:
        raise ValueError("too long")
    if text.startswith("pkg:"):
        return _from_purl(text)
    words = _REQUIREMENT.fullmatch(text)
    if words is None:
        raise ValueError("neither a purl nor a name")
    return purl_of(words[1], words[2] or "")


def _from_purl(text: str) -> str:
    try:
        parsed = PackageURL.from_string(text)
    except ValueError as error:
        raise ValueError("not a purl") from error
    if parsed.type != "pypi":
        raise ValueError("not a PyPI package")
    if parsed.namespace or parsed.qualifiers or parsed.subpath:
        raise ValueError("a purl with parts that a PyPI package has not")
    return purl_of(parsed.name, parsed.version or "")


def _version(text: str) -> str:
    if len(text) > _LONGEST_VERSION:
        raise ValueError("longer than a version")
    try:
        return str(Version(text))
    except InvalidVersion as error:
        raise ValueError("not a version") from error
