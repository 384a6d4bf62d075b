from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.registry.cache import Cache
from sandbox.registry.errors import IntegrityError, NotFoundError, RegistryError, TooLargeError, UnreachableError
from sandbox.registry.fetch import Fetcher, FetchSettings

from .index_server import WHEEL, digest

if TYPE_CHECKING:
    from pathlib import Path

    from .index_server import IndexServer


def _fetcher(tmp_path: Path, index: IndexServer, **settings: object) -> Fetcher:
    values = {"index_urls": (f"{index.base}/simple",), **settings}
    return Fetcher(FetchSettings(**values), Cache(tmp_path / "cache"))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["json", "html"])
def test_index_and_verified_file(tmp_path: Path, index: IndexServer, form: str) -> None:
    index.add_project("thing", {"/f/thing-1.whl": digest(WHEEL)}, form)
    index.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    with _fetcher(tmp_path, index) as fetcher:
        answer = fetcher.index("Thing")
        (link,) = answer.files
        assert link.url == f"{index.base}/f/thing-1.whl"
        assert fetcher.file(link.url, link.sha256).read_bytes() == WHEEL
        asked = len(index.seen)
        assert fetcher.stored(link.url, link.sha256).cached
        assert fetcher.index("thing").cached
        assert len(index.seen) == asked


def test_stale_pages_are_revalidated_by_etag(tmp_path: Path, index: IndexServer) -> None:
    index.add_project("thing", {"/f/thing-1.whl": ""})
    with _fetcher(tmp_path, index, index_ttl=0.0) as fetcher:
        first = fetcher.index("thing")
        second = fetcher.index("thing")
        assert second.body == first.body
        assert not second.cached
        assert "if-none-match" in index.seen[-1][2]
        index.add_project("thing", {"/f/thing-1.whl": "", "/f/thing-2.whl": ""})
        assert len(fetcher.index("thing").files) == 2


def test_wrong_digest_is_not_kept(tmp_path: Path, index: IndexServer) -> None:
    index.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    with _fetcher(tmp_path, index) as fetcher:
        for _ in range(2):
            with pytest.raises(IntegrityError):
                fetcher.file(f"{index.base}/f/thing-1.whl", "0" * 64)
    assert len(index.seen) == 2


def test_files_without_digest_are_confirmed_each_time(tmp_path: Path, index: IndexServer) -> None:
    url = f"{index.base}/f/thing-1.whl"
    index.pages["/f/thing-1.whl"] = ("application/zip", b"one")
    with _fetcher(tmp_path, index) as fetcher:
        assert fetcher.file(url).read_bytes() == b"one"
        assert fetcher.stored(url).cached
        index.pages["/f/thing-1.whl"] = ("application/zip", b"two")
        assert fetcher.file(url).read_bytes() == b"two"


def test_each_index_is_tried_in_order(tmp_path: Path, index: IndexServer, other: IndexServer) -> None:
    other.add_project("thing", {"/f/thing-1.whl": ""})
    urls = (f"{index.base}/simple", "file:///nowhere", f"{other.base}/simple/")
    with _fetcher(tmp_path, index, index_urls=urls) as fetcher:
        assert fetcher.index("thing").url.startswith(other.base)
        with pytest.raises(NotFoundError) as failure:
            fetcher.index("missing")
    assert failure.value.status == 404


def test_credentials_go_to_their_host_only(tmp_path: Path, index: IndexServer, other: IndexServer) -> None:
    index.password = "Basic bWU6c2VjcmV0"  # noqa: S105 - me:secret
    elsewhere = other.base.replace("127.0.0.1", "localhost")
    index.add_project("thing", {f"{elsewhere}/f/thing-1.whl": ""})
    other.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    url = f"{index.base}/simple".replace("http://", "http://me:secret@")
    with _fetcher(tmp_path, index, index_urls=(url,)) as fetcher:
        (link,) = fetcher.index("thing").files
        fetcher.file(link.url)
    assert "authorization" not in other.seen[-1][2]
    with _fetcher(tmp_path, index, index_ttl=0.0) as fetcher, pytest.raises(NotFoundError) as failure:
        fetcher.index("thing")
    assert failure.value.status == 403
    assert "credentials" in str(failure.value)


def test_redirects_only_to_known_hosts(tmp_path: Path, index: IndexServer, other: IndexServer) -> None:
    elsewhere = other.base.replace("127.0.0.1", "localhost")
    index.add_project("thing", {"/f/a.whl": ""})
    index.redirects["/simple/old/"] = "/simple/thing/"
    index.redirects["/f/a.whl"] = f"{elsewhere}/secret"
    index.redirects["/f/loop.whl"] = "/f/loop.whl"
    with _fetcher(tmp_path, index) as fetcher:
        assert fetcher.index("old").url.endswith("/simple/thing/")
        with pytest.raises(UnreachableError, match="redirects to localhost"):
            fetcher.file(f"{index.base}/f/a.whl")
        with pytest.raises(UnreachableError, match="more than"):
            fetcher.file(f"{index.base}/f/loop.whl")
    assert other.seen == []


def test_failures_are_ours(tmp_path: Path, index: IndexServer) -> None:
    index.statuses["/simple/broken/"] = 503
    index.pages["/simple/garbage/"] = ("application/json", b"[1]")
    index.pages["/f/big"] = ("application/zip", WHEEL)
    with _fetcher(tmp_path, index, max_file_bytes=100) as fetcher:
        with pytest.raises(UnreachableError, match="503"):
            fetcher.index("broken")
        with pytest.raises(UnreachableError, match="cannot be read"):
            fetcher.index("garbage")
        with pytest.raises(TooLargeError):
            fetcher.file(f"{index.base}/f/big")
        with pytest.raises(UnreachableError):
            fetcher.file("http://127.0.0.1:1/x")
        with pytest.raises(UnreachableError):
            fetcher.file("file:///etc/passwd")
    with _fetcher(tmp_path, index, index_urls=()) as fetcher, pytest.raises(UnreachableError, match="index-url"):
        fetcher.index("thing")
    with pytest.raises(RegistryError, match="certificate"):
        _fetcher(tmp_path, index, ca_file=str(tmp_path / "missing.pem"))
