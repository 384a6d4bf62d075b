"""What feeds name, where they go on, and what they refuse."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.sweeps.feeds.feed import FeedError
from sandbox.sweeps.feeds.index_feed import IndexFeed
from sandbox.sweeps.feeds.listed import ListedFeed
from sandbox.sweeps.feeds.make import make_feed
from sandbox.sweeps.feeds.osv import OsvFeed
from sandbox.sweeps.feeds.popularity import TrendingFeed
from sandbox.sweeps.feeds.rss import read_rss
from sandbox.sweeps.feeds.watch import WatchFeed
from sandbox.sweeps.plan import FeedPlan

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.registry.fetch import Fetcher
    from sandbox.sweeps.feeds.feed import Cursor, Feed

    from .conftest import SweptIndex

NOW = 1_795_900_000.0
"""In November 2026."""
PROJECTS, RELEASES = "/rss/packages.xml", "/rss/updates.xml"


class Swept:
    """What one sweep of a feed gave."""

    def __init__(self, feed: Feed, cursor: Cursor | None = None, pages: int = 1000) -> None:
        self.purls: list[str] = []
        self.notes: list[str] = []
        self.bad = 0
        self.cursor: Cursor = cursor or {}
        for _, page in zip(range(pages), feed.pages(self.cursor), strict=False):
            self.purls += [entry.purl.removeprefix("pkg:pypi/") for entry in page.entries]
            self.notes += page.notes
            self.bad += page.bad
            # A cursor is kept as JSON.
            self.cursor = json.loads(json.dumps(page.cursor))

    def told(self) -> str:
        return "; ".join(self.notes)


def link(name: str, version: str = "") -> str:
    return f"https://index.example/project/{name}/{version and f'{version}/'}"


def test_new_projects_are_named_once_the_oldest_first(index: SweptIndex, fetcher: Fetcher) -> None:
    index.rss(PROJECTS, link("Second.One"), link("first"))
    one = Swept(IndexFeed(fetcher, "projects", PROJECTS))
    assert one.purls == ["first", "second-one"]
    index.rss(PROJECTS, link("third"), link("Second.One"))
    two = Swept(IndexFeed(fetcher, "projects", PROJECTS), one.cursor)
    assert two.purls == ["third"]
    assert two.notes == []
    assert Swept(IndexFeed(fetcher, "projects", PROJECTS), two.cursor).purls == []


def test_a_feed_that_ran_past_us_says_that_something_was_missed(index: SweptIndex, fetcher: Fetcher) -> None:
    index.rss(RELEASES, link("a", "1.0"))
    one = Swept(IndexFeed(fetcher, "releases", RELEASES))
    index.rss(RELEASES, link("c", "1.0"), link("b", "1.0"))
    two = Swept(IndexFeed(fetcher, "releases", RELEASES), one.cursor)
    assert two.purls == ["b@1.0", "c@1.0"]
    assert "was missed" in two.told()


def test_bad_items_are_counted_and_quoted(index: SweptIndex, fetcher: Fetcher) -> None:
    index.rss(RELEASES, link("good", "2.0"), link("-bad-", "1"), link("x", "not a version"), link("x"), "junk", "")
    swept = Swept(IndexFeed(fetcher, "releases", RELEASES))
    assert swept.purls == ["good@2.0"]
    assert swept.bad == 5
    assert "5 entries could not be read" in swept.told()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "b">]><rss><channel/></rss>', "document type"),
        (b'<!DOCTYPE rss SYSTEM "file:///etc/passwd"><rss/>', "document type"),
        (b"<html><body/></html>", "not an RSS"),
        (b"<rss>" + b"<a>" * 1000, "nested too deeply"),
        (b"<rss><item>" + b"</item><item>" * 3000 + b"</item></rss>", "more than 2000 items"),
        (b"<rss><channel>&undefined;</channel></rss>", "not XML"),
        (b'<?xml version="1.0" encoding="no-such"?><rss/>', "not XML"),
        (b"\x00\xff", "not XML"),
        (b"", "not XML"),
    ],
)
def test_hostile_documents_are_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_rss(body)


def test_text_of_an_item_is_bounded_and_its_children_are_not_its_own() -> None:
    (item,) = read_rss(b"<rss><item><title>" + b"x" * 10**6 + b"</title><a><link>no</link></a></item></rss>")
    assert len(item.title) == 2048
    assert item.link == ""


def test_an_index_without_feeds_is_told(index: SweptIndex, fetcher: Fetcher) -> None:
    with pytest.raises(FeedError, match=r"no feed at /rss/packages\.xml .*sweep `updates`"):
        Swept(IndexFeed(fetcher, "projects", PROJECTS))
    index.statuses[RELEASES] = 503
    with pytest.raises(FeedError, match="503"):
        Swept(IndexFeed(fetcher, "releases", RELEASES))


def test_without_a_feed_the_watch_list_is_polled(index: SweptIndex, fetcher: Fetcher, tmp_path: Path) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("thing\n")
    index.release("thing", "1.0")

    def feed() -> IndexFeed:
        return IndexFeed(fetcher, "releases", RELEASES, WatchFeed(fetcher, watch, now=NOW))

    one = Swept(feed())
    assert "polled instead" in one.told()
    index.add_files("thing", "1.1", "2026-11-22T00:00:00Z", 2)
    two = Swept(feed(), one.cursor)
    assert two.purls == ["thing@1.1"]
    # The feed comes, and goes again: what was polled is not forgotten.
    index.rss(RELEASES, link("other", "1"))
    three = Swept(feed(), two.cursor)
    assert three.purls == ["other@1"]
    del index.pages[RELEASES]
    index.add_files("thing", "1.2", "2026-11-23T00:00:00Z", 3)
    assert Swept(feed(), three.cursor).purls == ["thing@1.2"]


def test_a_watched_project_gives_what_is_newer_than_last_time(
    index: SweptIndex, fetcher: Fetcher, tmp_path: Path
) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("# mine\nthing  # a comment\nother\nThing\nno such/name\nmissing\n")
    index.release("thing", "1.0", "0.9")
    index.release("other", "3.0")
    one = Swept(WatchFeed(fetcher, watch, now=NOW))
    assert one.purls == []
    assert one.bad == 2
    assert "2 projects were polled for the first time" in one.told()
    index.add_files("thing", "1.1", "2026-11-22T00:00:00Z", 2)
    index.add_files("thing", "1.2", "2026-11-21T00:00:00.5Z", 2)
    # A yank changes the serial, and is no release.
    index.release("other", "3.0", serial=77)
    two = Swept(WatchFeed(fetcher, watch, now=NOW), one.cursor)
    assert two.purls == ["thing@1.2", "thing@1.1"]
    assert Swept(WatchFeed(fetcher, watch, now=NOW), two.cursor).purls == []


def test_releases_newer_than_a_date(index: SweptIndex, fetcher: Fetcher, tmp_path: Path) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("thing\nundated\n")
    index.release("thing", "1.0", when="2026-01-01T00:00:00Z")
    index.add_files("thing", "2.0", "2026-11-02T00:00:00Z", 5)
    index.release("undated", "1.0", "2.0", "3.0rc1", serial=None, when="")
    feed = WatchFeed(fetcher, watch, now=NOW, since=1_793_491_200.0)  # the first of November
    one = Swept(feed)
    assert one.purls == ["thing@2.0", "undated@2.0"]
    assert "does not say when the releases of 1 projects came" in one.told()
    assert Swept(feed, one.cursor).purls == []
    index.release("undated", "1.0", "2.0", "2.1", serial=None, when="")
    assert Swept(feed, one.cursor).purls == ["undated@2.1"]


def test_an_index_that_knows_only_html(index: SweptIndex, fetcher: Fetcher, tmp_path: Path) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("thing\n")
    index.add_project("thing", {"/f/thing-1.0.tar.gz": "", "/f/thing-0.9.zip": "", "/f/other-7.0.tar.gz": ""}, "html")
    one = Swept(WatchFeed(fetcher, watch, now=NOW))
    assert one.purls == []
    index.add_project("thing", {"/f/thing-1.0.tar.gz": "", "/f/thing-1.1-py3-none-any.whl": ""}, "html")
    two = Swept(WatchFeed(fetcher, watch, now=NOW), one.cursor)
    assert two.purls == ["thing@1.1"]
    assert Swept(WatchFeed(fetcher, watch, now=NOW), two.cursor).purls == []


@pytest.mark.parametrize("body", [b"[1]", b"{", b'{"files": 3}', b'{"files": [{"filename": 1}]}', b"[" * 100_000])
def test_a_projects_page_that_is_none_is_counted(
    index: SweptIndex, fetcher: Fetcher, tmp_path: Path, body: bytes
) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("bad\ngood\n")
    index.release("good", "1.0")
    index.pages["/simple/bad/"] = ("application/json", body)
    swept = Swept(WatchFeed(fetcher, watch, now=NOW, since=0.0))
    assert swept.purls == ["good@1.0"]
    assert swept.bad == 1


def test_an_upload_in_the_future_hides_none_after_it(index: SweptIndex, fetcher: Fetcher, tmp_path: Path) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("thing\n")
    index.release("thing", "1.0", when="9999-01-01T00:00:00Z")
    one = Swept(WatchFeed(fetcher, watch, now=NOW))
    index.add_files("thing", "1.1", "2026-12-24T00:00:00Z", 2)
    assert "thing@1.1" in Swept(WatchFeed(fetcher, watch, now=NOW + 40 * 86_400), one.cursor).purls


def test_an_index_that_falls_silent_ends_the_sweep_and_loses_nothing(
    index: SweptIndex, fetcher: Fetcher, tmp_path: Path
) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("\n".join(f"p{number}" for number in range(60)))
    for number in range(60):
        index.release(f"p{number}", "1.0")
    one = Swept(WatchFeed(fetcher, watch, now=NOW))
    for number in range(60):
        index.add_files(f"p{number}", "2.0", "2026-11-22T00:00:00Z", 2)
    for number in range(50, 60):
        index.statuses[f"/simple/p{number}/"] = 500
    index.statuses["/simple/p7/"] = 500
    feed = WatchFeed(fetcher, watch, now=NOW)
    two = Swept(feed, one.cursor, pages=1)
    assert len(two.purls) == 49
    assert two.bad == 1
    with pytest.raises(FeedError, match="does not answer"):
        Swept(feed, two.cursor)
    index.statuses.clear()
    three = Swept(feed, two.cursor)
    assert len(three.purls) == 10
    assert Swept(feed, three.cursor).purls == ["p7@2.0"]


def test_a_watch_list_is_bounded(fetcher: Fetcher, tmp_path: Path) -> None:
    watch = tmp_path / "watch.txt"
    watch.write_text("\n".join(f"p{number}" for number in range(20_001)))
    with pytest.raises(FeedError, match="split it"):
        Swept(WatchFeed(fetcher, watch, now=NOW))
    with pytest.raises(FeedError, match="cannot be read"):
        Swept(WatchFeed(fetcher, tmp_path / "missing", now=NOW))
    with pytest.raises(FeedError, match="Is a directory"):
        Swept(WatchFeed(fetcher, tmp_path, now=NOW))


def test_a_file_is_read_each_time_and_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("pkg:pypi/Six@1.16.0\nrequests==2.0\nflask@3.0\n\n# no\nplain\npkg:npm/left-pad\nb\x1bad\n")
    swept = Swept(ListedFeed(path))
    assert swept.purls == ["six@1.16.0", "requests@2.0", "flask@3.0", "plain"]
    assert swept.bad == 2
    assert "\\x1b" in swept.told()
    assert "\x1b" not in swept.told()
    assert Swept(ListedFeed(path), swept.cursor).purls == swept.purls
    path.write_text("\n".join(f"p{number}" for number in range(450)))
    first = Swept(ListedFeed(path), pages=1)
    rest = Swept(ListedFeed(path), first.cursor)
    assert first.purls + rest.purls == [f"p{number}" for number in range(450)]
    path.write_text("changed\n")
    assert Swept(ListedFeed(path), first.cursor).purls == ["changed"]


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: json.dumps({"rows": [{"project": name, "download_count": count} for name, count in rows]}),
        lambda rows: json.dumps(dict(rows)),
        lambda rows: json.dumps([{"name": name, "downloads": count} for name, count in rows]),
        lambda rows: "project,downloads\n" + "".join(f"{name},{count}\n" for name, count in rows),
        lambda rows: "".join(f"{name},{count}\n" for name, count in rows),
    ],
)
def test_what_grew_between_two_snapshots(write: Any) -> None:
    def feed(*rows: tuple[str, Any]) -> TrendingFeed:
        return TrendingFeed(lambda: write(rows).encode(), growth=3.0, least=100, top=2)

    one = Swept(feed(("steady", 1000), ("doubled", 500), ("grown", 100), ("small", 10)))
    assert one.purls == []
    assert "first snapshot, of 4 packages" in one.told()
    two = Swept(
        feed(("steady", 1100), ("doubled", 1000), ("grown", 400), ("small", 90), ("new", 2000), ("-", "x")), one.cursor
    )
    assert two.purls == ["new", "grown"]
    assert two.bad == 1
    again = Swept(
        feed(("steady", 1100), ("doubled", 1000), ("grown", 400), ("small", 90), ("new", 2000), ("-", "x")), two.cursor
    )
    assert again.purls == []
    assert "the same as at the last sweep" in again.told()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[" * 100_000, b'{"rows": [1]}', b'"text"', b"\xff\xfe", bytes(2**26)]
)
def test_a_popularity_list_that_is_none(body: bytes) -> None:
    with pytest.raises(FeedError, match="popularity list"):
        Swept(TrendingFeed(lambda: body, growth=2.0, least=1, top=10))


def test_a_popularity_list_at_an_address(index: SweptIndex, fetcher: Fetcher, tmp_path: Path) -> None:
    plan = FeedPlan(kind="trending", source=f"{index.base}/top.json", growth=2.0, least=1)
    index.pages["/top.json"] = ("application/json", b'{"thing": 1, "other": 10}')
    one = Swept(make_feed(plan, tmp_path, fetcher, NOW))
    assert one.purls == []
    index.pages["/top.json"] = ("application/json", b'{"thing": 9, "other": 10}')
    two = Swept(make_feed(plan, tmp_path, fetcher, NOW), one.cursor)
    assert two.purls == ["thing"]
    index.pages["/top.json"] = ("application/json", bytes(33 * 1024**2))
    with pytest.raises(FeedError, match="larger than"):
        Swept(make_feed(plan, tmp_path, fetcher, NOW), two.cursor)
    index.redirects["/top.json"] = f"{index.base.replace('127.0.0.1', 'localhost')}/elsewhere"
    with pytest.raises(FeedError, match="redirects to localhost"):
        Swept(make_feed(plan, tmp_path, fetcher, NOW), two.cursor)


def advisory(name: str, *versions: str, modified: str = "1", ecosystem: str = "PyPI", **more: Any) -> str:
    package = {"ecosystem": ecosystem, "name": name}
    return json.dumps(
        {"id": f"MAL-{name}", "modified": modified, "affected": [{"package": package, "versions": versions}], **more}
    )


def dump(path: Path, form: str, *records: str) -> Path:
    if form == "zip":
        with zipfile.ZipFile(path / "dump.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for number, record in enumerate(records):
                archive.writestr(f"osv/{number}.json", record)
            archive.writestr("README", "x")
        return path / "dump.zip"
    for number, record in enumerate(records):
        directory = path / "dump" / f"d{number}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "record.json").write_text(record)
    return path / "dump"


@pytest.mark.parametrize("form", ["zip", "directory"])
def test_advisories_that_are_new_or_changed(tmp_path: Path, form: str) -> None:
    records = [
        advisory("Evil.One", "1.0", "1.1"),
        advisory("whole"),
        advisory("gone", withdrawn="2026-01-01T00:00:00Z"),
        advisory("left", ecosystem="npm"),
        advisory("many", *(f"{number}.0" for number in range(30))),
        "{",
        json.dumps({"id": "x"}),
        "[" * 100_000,
        advisory("huge", note="x" * 2**21),
        advisory("odd", "no version"),
    ]
    one = Swept(OsvFeed(dump(tmp_path, form, *records)))
    assert one.purls[:3] == ["evil-one@1.0", "evil-one@1.1", "whole"]
    assert len(one.purls) == 23
    assert one.purls[-1] == "many@29.0"
    assert one.bad == 5
    assert "30 versions: the last 20" in one.told()
    records[1] = advisory("whole", modified="2")
    two = Swept(OsvFeed(dump(tmp_path, form, *records)), one.cursor)
    assert two.purls == ["whole"]


def test_a_long_dump_is_read_in_pages_that_can_be_gone_on_from(tmp_path: Path) -> None:
    path = dump(tmp_path, "zip", *(advisory(f"p{number}") for number in range(1200)))
    first = Swept(OsvFeed(path), pages=1)
    rest = Swept(OsvFeed(path), first.cursor)
    assert len(first.purls) == 500
    assert sorted(first.purls + rest.purls) == sorted(f"p{number}" for number in range(1200))


def test_archives_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "dump.zip"
    with pytest.raises(FeedError, match="there is no"):
        Swept(OsvFeed(path))
    path.write_bytes(b"PK")
    with pytest.raises(FeedError, match="no zip archive"):
        Swept(OsvFeed(path))
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", b" " * 2**28)
        archive.writestr("damaged.json", b"x" * 5000)
        archive.writestr("good.json", advisory("good"))
    data = bytearray(plain.getvalue())
    at = data.index(b"damaged.json") + 40
    data[at - 20 : at - 15] = b"\xff" * 5
    path.write_bytes(bytes(data))
    swept = Swept(OsvFeed(path))
    assert swept.purls == ["good"]
    assert swept.bad == 2
