"""Findings that somebody has looked at and takes for harmless: data with an author, a reason and an end."""

from __future__ import annotations

import hashlib
import re
from calendar import isleap
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from collector.errors import SuppressionError
from collector.located import Document, Sort, nearest
from collector.textfile import read_text
from collector.verdict import proof_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from collector.findings import Finding
    from collector.manifest import Manifest
    from collector.sigma.rule import RuleSet

Outcome: TypeAlias = Literal["applied", "refused", "expired", "unused", "other-version", "unknown-rule"]
"""What became of a suppression in a run: it took findings out of the verdict; it would have taken out one in which a
planted secret left, which is never done; its time is over; nothing matched; it is for other versions; there is no such
rule."""

ANY_VERSION: Final = "*"
_SORT: Final = Sort("list of suppressions", SuppressionError, "write `suppressions: []` or do without it")
_MAX_BYTES: Final = 1 << 20
_PACKAGE: Final = re.compile(r"pkg:([a-z]+)/([^@?#\s]+)")
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_MONTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FEBRUARY: Final = 2

_Words: TypeAlias = Annotated[str, Meta(min_length=1, max_length=2000)]


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a file."""

    package: Annotated[str, Meta(max_length=300)]
    """A purl without a version, e.g. `pkg:pypi/requests`."""
    versions: Annotated[str, Meta(max_length=300)]
    """A version specifier as pip takes it, e.g. `>=2.30,<3`; `*` for all."""
    rule: Annotated[str, Meta(max_length=300)]
    """Name or id of the rule."""
    reason: _Words
    author: _Words
    expires: str
    """The last day on which it holds, e.g. `2027-03-31`; a run is judged by the day on which it was made."""


class _File(msgspec.Struct, frozen=True):
    suppressions: tuple[Suppression, ...]


class Suppressions(NamedTuple):
    """All suppressions that were given."""

    entries: tuple[Suppression, ...] = ()
    digest: str = ""
    """SHA-256 of the file in hexadecimal; empty when none was given."""


class Told(NamedTuple):
    """A suppression for the package of a run, and what became of it."""

    suppression: Suppression
    outcome: Outcome
    findings: int
    """How many findings it took out of the verdict."""


class Outcomes(NamedTuple):
    """What became of all suppressions for the package of a run."""

    told: tuple[Told, ...] = ()
    """In the order given."""
    digest: str = ""
    """See `Suppressions.digest`."""


NONE: Final = Suppressions()
NOTHING: Final = Outcomes()


def load_suppressions(path: Path) -> Suppressions:
    """Read a file of suppressions.

    Args:
        path: A YAML file with one key, `suppressions`, a list.

    Raises:
        SuppressionError: It cannot be read, or an entry is wrong; the message names file, line and remedy.
    """
    text = read_text(path, str(path), _SORT, _MAX_BYTES)
    document = Document(text, str(path), _SORT)
    entries = document.read(_File).suppressions
    for number, entry in enumerate(entries, 1):
        _check(document, number, entry)
    return Suppressions(entries, hashlib.sha256(text.encode()).hexdigest())


def apply(
    suppressions: Suppressions, findings: Sequence[Finding], manifest: Manifest, rules: RuleSet
) -> tuple[tuple[Finding, ...], Outcomes]:
    """Mark the findings that do not count.

    Args:
        suppressions: What was given.
        findings: What the rules found.
        manifest: Of the run: its package, and the day by which expiry is judged.
        rules: The rules, to tell a rule that is gone from one that did not fire.

    Returns:
        The findings, with the suppression of those that one applies to; and what became of each suppression for this
        package. Of several that match a finding the first applies.
    """
    concerned = [entry for entry in suppressions.entries if _is_for(entry, manifest)]
    known = {text for rule in rules.rules for text in (rule.id, rule.name)}
    states = {number: _state(entry, manifest, known) for number, entry in enumerate(concerned)}
    taken = dict.fromkeys(states, 0)
    marked: list[Finding] = []
    for finding in findings:
        number = _first(finding, concerned, states)
        if number is None:
            marked.append(finding)
        elif proof_of(finding) == "bait-left":
            states[number] = "refused"
            marked.append(finding)
        else:
            taken[number] += 1
            marked.append(msgspec.structs.replace(finding, suppression=concerned[number]))
    for number, count in taken.items():
        if count and states[number] == "unused":
            states[number] = "applied"
    told = tuple(Told(entry, states[number], taken[number]) for number, entry in enumerate(concerned))
    return tuple(marked), Outcomes(told, suppressions.digest)


def _first(finding: Finding, entries: Sequence[Suppression], states: dict[int, Outcome]) -> int | None:
    for number, entry in enumerate(entries):
        if states[number] in {"unused", "refused"} and entry.rule in {finding.rule, finding.name}:
            return number
    return None


def _is_for(entry: Suppression, manifest: Manifest) -> bool:
    found = _PACKAGE.fullmatch(entry.package)
    package = manifest.package
    return (
        found is not None
        and found[1] == package.ecosystem
        and canonicalize_name(found[2]) == canonicalize_name(package.name)
    )


def _state(entry: Suppression, manifest: Manifest, known: Iterable[str]) -> Outcome:
    """What becomes of an entry before any finding is looked at; `unused` when it may apply."""
    if not _covers(entry.versions, manifest.package.version):
        return "other-version"
    # Both are written year first: the order of texts is the order of days.
    if manifest.created[:10] > entry.expires:
        return "expired"
    return "unused" if entry.rule in known else "unknown-rule"


def _covers(versions: str, version: str) -> bool:
    if versions == ANY_VERSION:
        return True
    try:
        return SpecifierSet(versions).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _check(document: Document, number: int, entry: Suppression) -> None:
    def place(key: str) -> tuple[str, ...]:
        return ("suppressions", str(number), key)

    found = _PACKAGE.fullmatch(entry.package)
    if found is None:
        raise document.place(place("package")).error(
            f"{entry.package!a} is not a purl without a version; write e.g. pkg:pypi/requests"
        )
    if found[1] != "pypi":
        hint = nearest(found[1], ["pypi"])
        raise document.place(place("package")).error(f"unknown ecosystem {found[1]!a}; {hint}")
    if entry.versions != ANY_VERSION:
        try:
            specifiers = SpecifierSet(entry.versions)
        except InvalidSpecifier:
            specifiers = SpecifierSet()
        if not specifiers:
            raise document.place(place("versions")).error(
                f"{entry.versions!a} is no version specifier; write e.g. '>=2.30,<3', or '*' for all versions"
            )
    if (wrong := _wrong_date(entry.expires)) is not None:
        raise document.place(place("expires")).error(f"{entry.expires!a} is no date{wrong}; write e.g. 2027-03-31")


def _wrong_date(text: str) -> str | None:
    """Why a text is no day, written as year, month and day; None when it is one."""
    found = _DATE.fullmatch(text)
    if found is None:
        return ""
    year, month, day = map(int, found.groups())
    if not 1 <= month <= len(_MONTHS):
        return f": there is no month {month}"
    days = _MONTHS[month - 1] + (month == _FEBRUARY and isleap(year))
    return None if year and 1 <= day <= days else f": there is no such day in {found[1]}-{found[2]}"
