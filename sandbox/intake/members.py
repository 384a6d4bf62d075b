"""The rules that every member of an archive must keep, whatever the archive's format.

Nothing is ever unpacked on this side of the pod; these rules are for what the pod's tools will do with it, and for
refusing early, with a reason, what no honest build makes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from sandbox.errors import IntakeError
from sandbox.intake.quoting import quoted

MAX_MEMBERS = 100_000
MAX_TOTAL = 2 * 1024**3
"""Bytes of all members, uncompressed."""
MAX_RATIO = 200
RATIO_FREE = 10 * 1024**2
"""Below this uncompressed size the ratio does not matter: a small text of zeros is no bomb."""
_MAX_PATH = 1_024
_MAX_COMPONENT = 255
_HINT = "no honest build makes this; do not install it"


class Member(NamedTuple):
    """One entry of an archive."""

    name: str
    """As written in the archive, without a final slash."""
    directory: bool = False
    link: str | None = None
    """Target of a symbolic link, relative to the link."""
    hard: str | None = None
    """Target of a hard link, relative to the archive's top."""


class Contents(msgspec.Struct, frozen=True):
    """What a checked archive holds."""

    tops: frozenset[str]
    """First components of all names."""
    kept: dict[str, bytes]
    """Content of the few members that were asked for."""


class Wanted(msgspec.Struct, frozen=True):
    """Which members to keep in memory."""

    test: Callable[[str], bool]
    limit: int
    """Bytes of the largest; a larger one is refused."""

    def check(self, name: str, size: int) -> bool:
        """Whether to keep a member.

        Raises:
            IntakeError: It is wanted, and larger than the limit.
        """
        if not self.test(name):
            return False
        if size > self.limit:
            raise IntakeError(f"{quoted(name)} in the archive is larger than {self.limit} bytes; not analysed")
        return True


class Members:
    """Takes the members of one archive in turn and refuses hostile ones.

    Attributes:
        tops: First components of all names seen.
    """

    def __init__(self) -> None:
        self.tops: set[str] = set()
        self.count = 0
        self._names: set[str] = set()
        self._links: set[str] = set()

    def add(self, member: Member) -> str:
        """Check one member.

        Returns:
            Its name without `./` at its start.

        Raises:
            IntakeError: Its name, its link or the number of members is not acceptable.
        """
        self.count += 1
        check_count(self.count)
        name = _clean(member.name)
        if not name:
            return name  # the archive's own top, `./`
        if name in self._names and not member.directory:
            raise IntakeError(f"the archive holds {quoted(name)} twice; {_HINT}")
        self._names.add(name)
        self.tops.add(name.partition("/")[0])
        if member.link is not None:
            self._links.add(name)
            _check_link(name, member.link, posixpath.dirname(name))
        if member.hard is not None:
            _check_link(name, member.hard, "")
        return name

    def finish(self) -> None:
        """Check what only all members together show.

        Raises:
            IntakeError: A member lies below a link, or there is no member at all.
        """
        if not self._names:
            raise IntakeError("the archive is empty; build it again")
        if not self._links:
            return
        for name in self._names:
            parent = posixpath.dirname(name)
            while parent:
                if parent in self._links:
                    raise IntakeError(f"the archive holds {quoted(name)} below a link; {_HINT}")
                parent = posixpath.dirname(parent)


def check_count(count: int) -> None:
    """Refuse an archive with too many members."""
    if count > MAX_MEMBERS:
        raise IntakeError(f"the archive holds more than {MAX_MEMBERS} members; this is not analysed")


def check_size(total: int, compressed: int) -> None:
    """Refuse an archive that is, or says that it is, too large when unpacked."""
    if total > MAX_TOTAL:
        raise IntakeError(f"the archive unpacks to more than {MAX_TOTAL // 1024**3} GiB; this is not analysed")
    if total > RATIO_FREE and total > MAX_RATIO * compressed:
        raise IntakeError(f"the archive unpacks to more than {MAX_RATIO} times its size: a decompression bomb")


def _clean(name: str) -> str:
    if "\0" in name or "\\" in name:
        raise IntakeError(f"the archive holds a name with a backslash or NUL: {quoted(name)}; {_HINT}")
    if len(name) > _MAX_PATH:
        raise IntakeError(f"the archive holds a name that is too long: {quoted(name)}; {_HINT}")
    if name.startswith("/"):
        raise IntakeError(f"the archive holds an absolute name: {quoted(name)}; {_HINT}")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise IntakeError(f"the archive holds a name that leads out of it: {quoted(name)}; {_HINT}")
    if any(len(part) > _MAX_COMPONENT for part in parts):
        raise IntakeError(f"the archive holds a name that is too long: {quoted(name)}; {_HINT}")
    return "/".join(parts)


def _check_link(name: str, target: str, start: str) -> None:
    """A link may lead anywhere below the archive's top-level directory, and nowhere else."""
    parts = [part for part in target.split("/") if part not in {"", "."}]
    ascents = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    depth = len(start.split("/")) if start else 0
    inside = (
        not target.startswith("/")
        and not any(character in target for character in "\0\\")
        and len(target) <= _MAX_PATH
        # `..` after a name could climb out through another link, so it may stand only at the beginning.
        and ".." not in parts[ascents:]
        and ascents < max(depth, 1)
    )
    if not inside:
        raise IntakeError(f"the link {quoted(name)} in the archive leads out of it, to {quoted(target)}; {_HINT}")
