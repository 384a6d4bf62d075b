from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.registry.cache import Cache
from sandbox.registry.errors import IntegrityError, NotFoundError, RegistryError, TooLargeError, UnreachableError
from sandbox.registry.fetch import Fetcher, FetchSettings, IndexAnswer

from .index_server import WHEEL, digest

if TYPE_CHECKING:
    from pathlib import Path

    from .index_server import IndexServer


def _fetcher(tmp_path: Path, index: IndexServer, **settings: object) -> Fetcher:
    values = {"index_urls": (f"{index.base}/simple",), **settings}
    return Fetcher(FetchSettings(**values), Cache(tmp_path / "cache"))  # type: ignore[arg-type]


def _page(fetcher: Fetcher, project: str) -> IndexAnswer:
    return fetcher.page(f"{fetcher.index_urls[0]}/{project}/")


@pytest.mark.parametrize("form", ["json", "html"])
def test_index_and_verified_file(tmp_path: Path, index: IndexServer, form: str) -> None:
    index.add_project("thing", {"/f/thing-1.whl": digest(WHEEL)}, form)
    index.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    with _fetcher(tmp_path, index) as fetcher:
        answer = _page(fetcher, "thing")
        (link,) = answer.files
        assert link.url == f"{index.base}/f/thing-1.whl"
        assert fetcher.file(link.url, link.sha256).read_bytes() == WHEEL
        asked = len(index.seen)
        assert fetcher.stored(link.url, link.sha256).cached
        assert _page(fetcher, "thing").cached
        assert len(index.seen) == asked


def test_stale_pages_are_revalidated_by_etag(tmp_path: Path, index: IndexServer) -> None:
    index.add_project("thing", {"/f/thing-1.whl": ""})
    with _fetcher(tmp_path, index, index_ttl=0.0) as fetcher:
        first = _page(fetcher, "thing")
        second = _page(fetcher, "thing")
        assert second.body == first.body
        assert not second.cached
        assert "if-none-match" in index.seen[-1][2]
        index.add_project("thing", {"/f/thing-1.whl": "", "/f/thing-2.whl": ""})
        assert len(_page(fetcher, "thing").files) == 2


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


def test_addresses_that_are_not_http_are_no_index(tmp_path: Path, index: IndexServer) -> None:
    urls = ("file:///nowhere", f"{index.base}/simple/")
    with _fetcher(tmp_path, index, index_urls=urls) as fetcher:
        assert fetcher.index_urls == (f"{index.base}/simple",)
        with pytest.raises(NotFoundError) as failure:
            _page(fetcher, "missing")
    assert failure.value.status == 404


def test_credentials_go_to_their_host_only(tmp_path: Path, index: IndexServer, other: IndexServer) -> None:
    index.password = "Basic bWU6c2VjcmV0"  # noqa: S105 - me:secret
    elsewhere = other.base.replace("127.0.0.1", "localhost")
    index.add_project("thing", {f"{elsewhere}/f/thing-1.whl": ""})
    other.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    url = f"{index.base}/simple".replace("http://", "http://me:secret@")
    with _fetcher(tmp_path, index, index_urls=(url,)) as fetcher:
        (link,) = _page(fetcher, "thing").files
        fetcher.file(link.url)
    assert "authorization" not in other.seen[-1][2]
    with _fetcher(tmp_path, index, index_ttl=0.0) as fetcher, pytest.raises(NotFoundError) as failure:
        _page(fetcher, "thing")
    assert failure.value.status == 403
    assert "credentials" in str(failure.value)


def test_redirects_only_to_known_hosts(tmp_path: Path, index: IndexServer, other: IndexServer) -> None:
    elsewhere = other.base.replace("127.0.0.1", "localhost")
    index.add_project("thing", {"/f/a.whl": ""})
    index.redirects["/simple/old/"] = "/simple/thing/"
    index.redirects["/f/a.whl"] = f"{elsewhere}/secret"
    index.redirects["/f/loop.whl"] = "/f/loop.whl"
    with _fetcher(tmp_path, index) as fetcher:
        assert _page(fetcher, "old").url.endswith("/simple/thing/")
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
            _page(fetcher, "broken")
        with pytest.raises(UnreachableError, match="cannot be read"):
            _page(fetcher, "garbage")
        with pytest.raises(TooLargeError):
            fetcher.file(f"{index.base}/f/big")
        with pytest.raises(UnreachableError):
            fetcher.file("http://127.0.0.1:1/x")
        with pytest.raises(UnreachableError):
            fetcher.file("file:///etc/passwd")
    with pytest.raises(RegistryError, match="certificate"):
        _fetcher(tmp_path, index, ca_file=str(tmp_path / "missing.pem"))


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, index: IndexServer) -> None:
    index.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    url = f"{index.base}/f/thing-1.whl"
    with _fetcher(tmp_path, index) as fetcher:
        fetcher.file(url, digest(WHEEL)).write_bytes(WHEEL[:-1] + b"?")
        assert fetcher.file(url, digest(WHEEL)).read_bytes() == WHEEL
        fetcher.file(url, digest(WHEEL)).write_bytes(b"")
        assert fetcher.file(url).read_bytes() == WHEEL
    assert len(index.seen) == 3


def test_credentials_stay_with_their_port(tmp_path: Path, index: IndexServer, other: IndexServer) -> None:
    index.add_project("thing", {f"{other.base}/f/thing-1.whl": ""})
    other.pages["/f/thing-1.whl"] = ("application/zip", WHEEL)
    url = f"{index.base}/simple".replace("http://", "http://me:secret@")
    # The same host, and a host of the netrc, but neither the index's port nor https.
    hosts = {"127.0.0.1": ("them", "secret")}
    with _fetcher(tmp_path, index, index_urls=(url,), credentials=hosts) as fetcher:
        (link,) = _page(fetcher, "thing").files
        fetcher.file(link.url)
    assert index.seen[-1][2]["authorization"] == "Basic bWU6c2VjcmV0"
    assert "authorization" not in other.seen[-1][2]
    with _fetcher(tmp_path, index, index_ttl=0.0, credentials=hosts) as fetcher:
        _page(fetcher, "thing")
    assert index.seen[-1][2]["authorization"] == "Basic dGhlbTpzZWNyZXQ="
