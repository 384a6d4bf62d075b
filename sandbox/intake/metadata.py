"""What an artefact says about itself, read from its METADATA or PKG-INFO without running anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement

from sandbox.intake.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.requirements import Requirement

    from sandbox.intake.target import Target

_MAX_REQUIREMENTS = 5_000
_SECTION = re.compile(r"\[(?P<extra>[^:\]]*)(?::(?P<marker>[^\]]*))?\]")


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a metadata file that matter here; empty where it does not say."""

    name: str = ""
    version: str = ""
    requires_python: str = ""
    requires: tuple[str, ...] = ()


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """Requirements of an artefact that hold on the image, without extras."""

    indexed: tuple[str, ...] = ()
    """`name[extras]specifier`, safe as an argument for pip: markers are evaluated, nothing else can be in it."""
    notes: tuple[str, ...] = ()


def parse_metadata(data: bytes) -> Said:
    """Read a METADATA or PKG-INFO file; what cannot be understood counts as not said."""
    raw, _ = parse_email(data)
    return Said(
        name=raw.get("name", ""),
        version=raw.get("version", ""),
        requires_python=raw.get("requires_python", ""),
        requires=tuple(raw.get("requires_dist", ())),
    )


def parse_requires_txt(data: bytes) -> tuple[str, ...]:
    """Read setuptools' `requires.txt`: sections of extras are left out, those of markers become markers."""
    return tuple(_requires_txt(data.decode("utf-8", "replace")))


def _requires_txt(text: str) -> Iterator[str]:
    extra, marker = "", ""
    for written in text.splitlines():
        line = written.strip()
        if not line or line.startswith("#"):
            continue
        if section := _SECTION.fullmatch(line):
            extra, marker = section["extra"], section["marker"] or ""
        elif not extra:
            # The space matters: in `name @ url;marker` the semicolon would be part of the address.
            yield f"{line} ; {marker}" if marker else line


def select(texts: Iterable[str], target: Target) -> Requirements:
    """Keep what the image's interpreter needs of the given requirements, each once."""
    indexed: dict[str, None] = {}
    notes: list[str] = []
    for number, text in enumerate(texts):
        if number == _MAX_REQUIREMENTS:
            notes.append(f"more than {_MAX_REQUIREMENTS} requirements; the rest is not installed beforehand")
            break
        try:
            requirement = target.requirement(text)
        except InvalidRequirement:
            notes.append(f"requirement {quoted(text)} cannot be read; it is not installed beforehand")
            continue
        if requirement is None:
            continue
        if requirement.url:
            notes.append(f"requirement {quoted(text)} names an address of its own; it is not installed beforehand")
        else:
            indexed[_written(requirement)] = None
    return Requirements(indexed=tuple(indexed), notes=tuple(notes[:50]))


def _written(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
