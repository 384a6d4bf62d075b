"""What a package left on the file system when its run ended: the list that the pod made, as events.

A *drop* is what is there at the end and was neither planted nor put there by the installer. Who wrote it, the traces
say; the list says what it is. It was made by us, of files that the package made: every string in it is the package's.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec

from collector.brief import whole
from collector.events import AnyEvent, FileDropped, FileLink, FileRename, FileWrite, Source
from collector.magic import kind_of_content
from collector.standing import INSTALLER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from collector.bait import BaitScanner
    from collector.brief import Told

DROPPED: Final = "dropped.jsonl.zst"
_LAST_PHASE: Final = "linger"
_MAX_RECORDS: Final = 100_000
"""A pod writes a tenth of it at most."""
_WRITING: Final = (FileWrite, FileRename, FileLink)
_Path: TypeAlias = Annotated[str, msgspec.Meta(max_length=4096)]
"""What no pod writes longer is not read longer."""


class LeftFile(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="file"):
    """A regular file."""

    path: _Path
    size: int
    sha256: str
    """Empty when more files were left than are read."""
    mode: int
    """Permission bits."""
    changed: float
    """When its content, name or permissions changed last, in seconds since the epoch, on the kernel's clock."""
    planted: bool
    """It was there before the run, with other content."""
    head: Annotated[bytes, msgspec.Meta(max_length=64 << 10)]
    """Its first bytes (base64 in JSON): 64 KiB of the smallest files, 512 of the others."""


class LeftLink(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="link"):
    """A symbolic link."""

    path: _Path
    target: _Path


class LeftSpecial(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="special"):
    """A pipe, socket or device, or what could not be read."""

    path: _Path
    type: Literal["fifo", "socket", "character", "block", "unknown", "unreadable"]


class LeftGone(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="gone"):
    """Something planted that is not there any more."""

    path: _Path


class LeftEnd(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="end"):
    """The list is whole; what was counted instead of listed."""

    ts: float
    listed: int
    """Records before this one."""
    installed: int
    """Files that stand in a RECORD with their size and have not changed since the installation ended."""
    caches: int
    """Bytecode in a `__pycache__` beside its source."""
    planted: int
    """What is as it was planted."""
    directories: int
    unlisted: int
    """At least so many names were left out: too many, too deep, too long, or too late."""
    unhashed: int
    """Files without a digest."""
    faults: int
    """Files and directories that could not be read."""


Left: TypeAlias = LeftFile | LeftLink | LeftSpecial | LeftGone | LeftEnd
_DECODER: Final = msgspec.json.Decoder(Left)


class Drops(msgspec.Struct, frozen=True, kw_only=True):
    """What was left, as the collector understands it."""

    events: tuple[FileDropped, ...] = ()
    """In order of path."""
    gone: tuple[str, ...] = ()
    """Planted files that were removed."""
    gaps: tuple[str, ...] = ()
    """Sentences: what is not known of what was left."""


class Listing:
    """The list of a run, which is explained by the run's events as they go by."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Read the list.

        Args:
            lines: Of `dropped.jsonl`.
        """
        self._records: list[tuple[int, Left]] = []
        self._unparsed = 0
        self._latest = 0.0
        """The moment of the last event that went by."""
        for number, line in enumerate(lines, 1):
            if number > _MAX_RECORDS:
                self._unparsed += 1
                break
            try:
                self._records.append((number, _DECODER.decode(line)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._unparsed += 1
        self._writers = _Writers({record.path for _, record in self._records if not isinstance(record, LeftEnd)})

    def watched(self, events: Iterable[Told]) -> Iterator[Told]:
        """Yield the events of the run, which are in order of time and attributed, and note who wrote what was left."""
        for told in events:
            # Most events are of no such sort, which `isinstance` needs several times as long to see.
            if type(told) in _WRITING and not (event := whole(told)).errno:
                self._writers.note(event)
            yield told
            self._latest = told.ts

    def drops(self, scanner: BaitScanner, site_packages: str) -> Drops:
        """Explain the list, once all events went by.

        Args:
            scanner: For the run's bait.
            site_packages: Where the package was installed.

        Returns:
            The drops, each with the process, phase and actor that wrote, renamed or linked it last; without a known
            writer it is the package's.
        """
        records = self._records
        end = next((record for _, record in records[-1:] if isinstance(record, LeftEnd)), None)
        ts = max(end.ts if end else 0.0, self._latest)
        found = [_event(record, number, ts, self._writers, scanner) for number, record in records]
        drops = [event for event in found if event is not None and event.actor != INSTALLER]
        return Drops(
            events=tuple(sorted(drops, key=lambda event: event.path)),
            gone=tuple(sorted(record.path for _, record in records if isinstance(record, LeftGone))),
            gaps=tuple(_gaps(end, len(records) - 1, self._unparsed, _own_records(drops, site_packages))),
        )


def _own_records(drops: Iterable[FileDropped], site_packages: str) -> list[str]:
    """Lists of installed files that the package wrote where ours are read; elsewhere they decide nothing."""
    shape = re.compile(re.escape(site_packages) + r"/[^/]*\.dist-info/RECORD")
    return [event.path for event in drops if shape.fullmatch(event.path)]


def _gaps(end: LeftEnd | None, listed: int, unparsed: int, own_records: Sequence[str]) -> list[str]:
    if end is None or end.listed != listed or unparsed:
        return ["the list of what the package left is not whole"]
    told = []
    if end.unlisted:
        told.append(f"the package left more than is listed: at least {end.unlisted:,} more names")
    if end.unhashed:
        told.append(f"the package left more than is read: {end.unhashed:,} files have no digest")
    if end.faults:
        told.append(f"{end.faults:,} of the files and directories that the package left could not be read")
    if own_records:
        # What such a list names counts as installed, and is not in ours.
        told.append(f"the package wrote a list of installed files itself: {own_records[0]}")
    return told


def _event(record: Left, number: int, ts: float, writers: _Writers, scanner: BaitScanner) -> FileDropped | None:
    if isinstance(record, LeftGone | LeftEnd):
        return None
    writer = writers.last(record.path)
    event = FileDropped(
        ts=ts,
        phase=writer.phase if writer else _LAST_PHASE,
        actor=writer.actor if writer else "target",
        pid=writer.pid if writer else 0,
        source=Source(DROPPED, number),
        path=record.path,
        type="link",
    )
    match record:
        case LeftLink():
            return msgspec.structs.replace(event, target=record.target)
        case LeftSpecial():
            return msgspec.structs.replace(event, type=record.type)
        case _:
            return msgspec.structs.replace(
                event,
                type=kind_of_content(record.head),
                size=record.size,
                sha256=record.sha256,
                mode=f"{record.mode:04o}",
                planted=record.planted,
                # Where a bait lies is no news in its own file.
                bait=() if record.planted else scanner.scan(record.head),
            )


class _Writers:
    """Who wrote, renamed or linked the paths that were left last."""

    def __init__(self, left: Collection[str]) -> None:
        self._left = left
        self._ordered = sorted(left)
        self._last: dict[str, FileWrite | FileRename | FileLink] = {}
        self._moved: dict[str, FileRename] = {}

    def note(self, event: AnyEvent) -> None:
        """Take account of the next event."""
        if not isinstance(event, _WRITING):
            return
        if event.path in self._left:
            self._last[event.path] = event
        if isinstance(event, FileRename) and _is_above(event.path, self._ordered):
            self._moved[event.path] = event

    def last(self, path: str) -> FileWrite | FileRename | FileLink | None:
        """The last of these events of a path, or of a directory above it that was renamed; None when there is none."""
        if (found := self._last.get(path)) is not None:
            return found
        # The parent of `//` is `//`.
        while self._moved and (above := posixpath.dirname(path)) != path:
            path = above
            if (moved := self._moved.get(path)) is not None:
                return moved
        return None


def _is_above(directory: str, ordered: Sequence[str]) -> bool:
    """Whether one of the paths, which are in order, is below a directory."""
    below = f"{directory}/"
    at = bisect_left(ordered, below)
    return at < len(ordered) and ordered[at].startswith(below)
