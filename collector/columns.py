"""Events in few bytes: those in brief as columns of numbers, all others as they are."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from collector.brief import Brief, Reading, setting_of
from collector.events import AnyEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.brief import Told


class _Columns(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Some events in a row."""

    whole: list[AnyEvent]
    places: list[int]
    """Where they stand among all."""
    settings: list[tuple[str, str, str]]
    """Phase, file and errno of the others."""
    readings: list[tuple[str, int]]
    """Path and number of the setting of what they have in common."""
    actors: list[str]
    moments: bytes
    pids: bytes
    lines: bytes
    what: bytes
    """Numbers of readings."""
    by: bytes
    """Numbers of actors."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Columns)
_T = TypeVar("_T")
_FLOAT, _LONG, _SHORT = "d", "q", "i"


def packed(events: Sequence[Told]) -> bytes:
    """Write events in few bytes.

    Raises:
        UnicodeEncodeError: A text has half of a surrogate pair.
        OverflowError: A number is longer than any of strace's.
    """
    places = [place for place, event in enumerate(events) if type(event) is not Brief]
    briefs = [event for event in events if type(event) is Brief] if places else events
    moments, pids, lines, what, by = zip(*map(msgspec.structs.astuple, briefs), strict=True) if briefs else ((),) * 5
    readings, actors = _numbered(what), _numbered(by)
    settings = _numbered(reading.setting for reading in readings)
    return _ENCODER.encode(
        _Columns(
            whole=[events[place] for place in places],  # type: ignore[misc]
            places=places,
            settings=[(setting.phase, setting.file, setting.errno) for setting in settings],
            readings=[(reading.path, settings[reading.setting]) for reading in readings],
            actors=list(actors),
            moments=array(_FLOAT, moments).tobytes(),
            pids=array(_LONG, pids).tobytes(),
            lines=array(_LONG, lines).tobytes(),
            what=array(_SHORT, map(readings.__getitem__, what)).tobytes(),
            by=array(_SHORT, map(actors.__getitem__, by)).tobytes(),
        )
    )


def _numbered(things: Iterable[_T]) -> dict[_T, int]:
    return {thing: number for number, thing in enumerate(dict.fromkeys(things))}


def unpacked(content: bytes) -> list[Told]:
    """Make the events anew."""
    columns = _DECODER.decode(content)
    settings = [setting_of(*parts) for parts in columns.settings]
    readings = [Reading(path, settings[number]) for path, number in columns.readings]
    events: list[Told] = list(
        map(
            Brief,
            array(_FLOAT, columns.moments),
            array(_LONG, columns.pids),
            array(_LONG, columns.lines),
            map(readings.__getitem__, array(_SHORT, columns.what)),
            map(columns.actors.__getitem__, array(_SHORT, columns.by)),
        )
    )
    for place, event in zip(columns.places, columns.whole, strict=True):
        events.insert(place, event)
    return events
