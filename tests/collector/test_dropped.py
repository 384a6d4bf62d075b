"""The list of what a package left, joined with who wrote it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from collector import dropped
from collector.analyse import analyse
from collector.bait import BaitScanner
from collector.bundle import Bundle
from collector.dropped import DROPPED, Left, LeftEnd, LeftFile, LeftGone, LeftLink, LeftSpecial
from collector.sigma.rule import RuleSet
from tests.collector.bundles import AWS_VALUE, BAITS, HOME, compressed, records, write_bundle
from tests.collector.reports import make_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from collector.events import AnyEvent

SCANNER = BaitScanner(BAITS)


def left(path: str, head: bytes = b"text\n", **changed: Any) -> LeftFile:
    usual = {"size": len(head), "sha256": "a" * 64, "mode": 0o644, "changed": 1.0, "planted": False}
    return LeftFile(path=path, head=head, **{**usual, **changed})


def end_of(items: Sequence[Left], **changed: int) -> LeftEnd:
    names = ("installed", "caches", "planted", "directories", "unlisted", "unhashed", "faults")
    return LeftEnd(ts=9e9, listed=len(items), **{**dict.fromkeys(names, 0), **changed})


def read(*items: Left, events: Sequence[str] = (), **changed: int) -> dropped.Drops:
    return explained(records([*items, end_of(items, **changed)]).splitlines(), make_events(*events))


def explained(lines: Iterable[bytes], events: Sequence[AnyEvent] = ()) -> dropped.Drops:
    listing = dropped.Listing(lines)
    assert list(listing.watched(events)) == list(events)
    return listing.drops(SCANNER, "/s")


def test_who_wrote_it_last_is_who_left_it() -> None:
    found = read(
        left("/tmp/a"),
        left("/tmp/b"),
        left("/tmp/moved/deep/c"),
        left("/tmp/unknown"),
        events=(
            "install target 3 file.write path=/tmp/a",
            "import dependency:x 4 file.write path=/tmp/a",
            "import target 5 file.write path=/tmp/a errno=EACCES",
            "import target 6 file.rename path=/tmp/b old=/tmp/z",
            "exercise target 7 file.rename path=/tmp/moved old=/tmp/was",
        ),
    )
    assert [(event.path, event.phase, event.actor, event.pid) for event in found.events] == [
        ("/tmp/a", "import", "dependency:x", 4),
        ("/tmp/b", "import", "target", 6),
        ("/tmp/moved/deep/c", "exercise", "target", 7),
        ("/tmp/unknown", "linger", "target", 0),
    ]
    assert not found.gaps


def test_what_the_installer_wrote_last_is_no_drop() -> None:
    written = "install installer 3 file.write path=/home/dev/.cache/pip/x"
    assert not read(left("/home/dev/.cache/pip/x"), events=(written,)).events
    again = "import target 4 file.write path=/home/dev/.cache/pip/x"
    assert len(read(left("/home/dev/.cache/pip/x"), events=(written, again)).events) == 1


def test_paths_that_no_pod_writes_are_no_trap() -> None:
    # The parent of `//` is itself, and a search of all parents of a very long path takes very long.
    moved = ("import target 6 file.rename path=/tmp/b old=/tmp/z",)
    assert len(read(left("//x"), left("relative"), events=moved).events) == 2
    assert read(left("/x", b"x" * ((64 << 10) + 1))).gaps == ("the list of what the package left is not whole",)
    assert read(left("/a" * 2049), events=moved).gaps == ("the list of what the package left is not whole",)


def test_a_list_longer_than_a_pod_writes_is_not_read_to_its_end() -> None:
    lines = (b'{"record":"gone","path":"/tmp/x"}' for _ in itertools.count())
    found = explained(lines)
    assert found.gaps == ("the list of what the package left is not whole",)


def test_records_become_events_with_type_and_bait() -> None:
    found = read(
        left("/tmp/elf", b"\x7fELF" + bytes(9), mode=0o4755),
        left("/tmp/stolen", AWS_VALUE.encode()),
        left(f"{HOME}/.aws/credentials", AWS_VALUE.encode() + b"\n#", planted=True),
        LeftLink(path="/tmp/link", target="/etc/shadow"),
        LeftSpecial(path="/tmp/pipe", type="fifo"),
        LeftGone(path=f"{HOME}/.netrc"),
    )
    told = {event.path: event for event in found.events}
    assert (told["/tmp/elf"].type, told["/tmp/elf"].mode, told["/tmp/elf"].size) == ("elf", "4755", 13)
    assert told["/tmp/stolen"].bait == ("aws-secret-access-key/plain",)
    own = told[f"{HOME}/.aws/credentials"]
    assert own.planted
    assert own.bait == ()
    assert (told["/tmp/link"].type, told["/tmp/link"].target) == ("link", "/etc/shadow")
    assert told["/tmp/pipe"].type == "fifo"
    assert found.gone == (f"{HOME}/.netrc",)


def test_each_bound_is_told() -> None:
    for name, words in (("unlisted", "more names"), ("unhashed", "digest"), ("faults", "could not be read")):
        (gap,) = read(**{name: 3}).gaps
        assert words in gap
    mine = "import target 3 file.write path=/s/x.dist-info/RECORD"
    (gap,) = read(left("/s/x.dist-info/RECORD"), events=(mine,)).gaps
    assert "list of installed files itself" in gap
    # A copy elsewhere is read by nobody.
    for path in ("/home/dev/.cache/x.dist-info/RECORD", "/s/y/x.dist-info/RECORD"):
        assert not read(left(path), events=(mine.replace("/s/x.dist-info/RECORD", path),)).gaps
    pips = "import installer 3 file.write path=/s/x.dist-info/RECORD"
    assert not read(left("/s/x.dist-info/RECORD"), events=(pips,)).gaps


def test_a_list_that_is_not_whole_says_so() -> None:
    items = [left("/tmp/a"), left("/tmp/b")]
    whole = records([*items, end_of(items)]).splitlines()
    for lines in ([], whole[:-1], whole[1:], [*whole, b"{}"], [b"\xff", *whole], [*whole, whole[0]]):
        (gap,) = explained(lines).gaps
        assert "not whole" in gap


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(records([left("/tmp/a")]).strip())), max_size=9))
def test_no_line_is_ever_an_error(lines: list[bytes]) -> None:
    assert explained(lines).gaps


def _report(path: Path, extra: dict[str, bytes]) -> dict[str, Any]:
    bundle = Bundle.open(write_bundle(path, extra=extra))
    report: dict[str, Any] = msgspec.to_builtins(analyse(bundle, RuleSet((), "c" * 64)))
    return report


def test_a_report_shows_what_was_left_and_an_older_bundle_is_read(tmp_path: Path) -> None:
    items = [left("/tmp/stolen\x1b[2J", b"say " + AWS_VALUE.encode()), LeftGone(path="/home/dev/x")]
    new = _report(tmp_path / "new", {DROPPED: compressed(records([*items, end_of(items)]))})
    (file,) = new["dropped"]["files"]
    assert file["bait"] == ("aws-secret-access-key/plain",)
    assert file["source"] == {"file": DROPPED, "line": 1}
    assert new["dropped"]["gone"] == ("/home/dev/x",)
    assert new["events"]["file.dropped"] == 1
    assert not any("left" in reason for reason in new["reasons"])
    old = _report(tmp_path / "old", {})
    assert old["dropped"] is None
    assert not any("left" in reason for reason in old["reasons"])
    cut = _report(tmp_path / "cut", {DROPPED: compressed(b"")})
    assert "the list of what the package left is not whole" in cut["reasons"]


def test_a_report_is_bounded_and_keeps_what_matters(tmp_path: Path) -> None:
    many = [left(f"/tmp/{number:04}") for number in range(600)]
    items = [*many, left("/tmp/zz", b"\x7fELF"), left("/tmp/zzz", AWS_VALUE.encode())]
    found = _report(tmp_path / "many", {DROPPED: compressed(records([*items, end_of(items)]))})["dropped"]
    assert len(found["files"]) == 500
    assert found["omitted"] == 102
    assert [file["path"] for file in found["files"]][-2:] == ["/tmp/zz", "/tmp/zzz"]
