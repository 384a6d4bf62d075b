"""Renaming or linking a secret does not hide that it is read."""

from __future__ import annotations

from collector.attribution import attribute
from collector.brief import Brief, Reading, setting_of, whole
from collector.events import AnyEvent, FileLink, FileRead, FileRename, Source
from collector.processes import ProcessTable
from tests.collector.bundles import HOME, make_manifest

KEY = f"{HOME}/.ssh/id_ed25519"


def _reads(*events: AnyEvent) -> list[str]:
    """The paths that are read, whole events and events in brief alike."""
    setting = setting_of("import", "t", "")
    short = [Brief(it.ts, it.pid, 1, Reading(it.path, setting)) if isinstance(it, FileRead) else it for it in events]
    manifest = make_manifest()
    found, other = (
        [it.path for it in map(whole, attribute(told, ProcessTable(), manifest)) if isinstance(it, FileRead)]
        for told in (events, short)
    )
    assert found == other
    return found


def _rename(old: str, new: str, line: int = 1) -> FileRename:
    return FileRename(ts=1.0, phase="import", path=f"{HOME}/{new}", old=f"{HOME}/{old}", source=Source("t", line))


def _read(name: str) -> FileRead:
    return FileRead(ts=1.0, phase="import", path=f"{HOME}/{name}")


def test_a_renamed_file_is_read_under_both_names() -> None:
    assert _reads(_rename(".ssh/id_ed25519", "x"), _read("x")) == [f"{HOME}/x", KEY]


def test_a_file_in_a_renamed_directory_is_followed_through_every_move() -> None:
    moves = (_rename(".ssh", "a/b"), _rename("a", "c"), _rename("c/b/id_ed25519", "d"))
    assert _reads(*moves, _read("d")) == [f"{HOME}/d", KEY]


def test_a_link_is_followed_and_the_first_name_stays() -> None:
    link = FileLink(ts=1.0, phase="import", path=f"{HOME}/x", target=KEY)
    assert _reads(link, _read("x"), _read(".ssh/id_ed25519")) == [f"{HOME}/x", KEY, KEY]


def test_an_exchange_gives_each_the_others_name() -> None:
    pair = (_rename("x", ".ssh/id_ed25519"), _rename(".ssh/id_ed25519", "x"))
    assert _reads(*pair, _read("x"), _read(".ssh/id_ed25519")) == [f"{HOME}/x", KEY, KEY, f"{HOME}/x"]


def test_files_that_changed_places_in_a_round_are_told_apart() -> None:
    moves = (("a", "t"), (".ssh/id_ed25519", "a"), ("t", ".ssh/id_ed25519"))
    events = [_rename(old, new, line) for line, (old, new) in enumerate(moves)]
    assert _reads(*events, _read("a"), _read(".ssh/id_ed25519")) == [f"{HOME}/a", KEY, KEY, f"{HOME}/a"]


def test_what_was_put_back_has_one_name() -> None:
    assert _reads(_rename(".ssh", "x"), _rename("x", ".ssh", 2), _read(".ssh/id_ed25519")) == [KEY]


def test_what_did_not_work_and_what_installers_move_is_not_followed() -> None:
    failed = FileRename(ts=1.0, phase="import", path=f"{HOME}/x", old=KEY, errno="EACCES")
    moved = _rename(".cache/pip/tmp1", ".cache/pip/body")
    assert _reads(failed, _read("x"), moved, _read(".cache/pip/body")) == [f"{HOME}/x", f"{HOME}/.cache/pip/body"]
