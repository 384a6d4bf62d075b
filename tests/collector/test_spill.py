"""Bytes that are put aside in a temporary file come back, and the file never has a name for long."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collector.errors import BundleError
from collector.eventlog import EventLog
from collector.events import FileRead
from collector.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECES = [bytes([number]) * (number + 1) for number in range(50)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert not [*tmp_path.iterdir()], "a temporary file was left"


def descriptors(place: Path) -> list[int]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith(f"{place}/"):
            found.append(int(link.name))
    return found


def test_pieces_come_back_from_memory_and_from_the_file(place: Path) -> None:
    spill = Spill(room=100)
    pieces = [spill.put(piece) for piece in PIECES]
    assert len(descriptors(place)) == 1
    assert [piece.read() for piece in pieces] == PIECES
    assert [piece.read() for piece in reversed(pieces)] == PIECES[::-1]
    del spill, pieces
    assert descriptors(place) == []


def test_what_the_disk_does_not_take_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    spill = Spill(room=100)
    assert [spill.put(piece).read() for piece in PIECES] == PIECES


def test_a_file_that_was_cut_is_an_error(place: Path) -> None:
    spill = Spill(room=0)
    piece = spill.put(b"abc")
    [descriptor] = descriptors(place)
    os.ftruncate(descriptor, 1)
    with pytest.raises(BundleError, match="TMPDIR"):
        piece.read()


def test_a_log_larger_than_the_room_for_it(place: Path) -> None:
    events = [FileRead(phase="install", path=os.urandom(200).hex()) for _ in range(40_000)]
    log = EventLog(events, kept=10)
    assert len(descriptors(place)) == 1
    assert list(log) == events
    assert log[-1] == events[-1]
    assert log[20_000] == events[20_000]
