from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sandbox.registry.cache import Cache
from sandbox.registry.fetch import Fetcher, FetchSettings
from tests.sandbox.registry.index_server import IndexServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class SweptIndex(IndexServer):
    """An index with feeds, serials, sizes and upload times."""

    def release(
        self, name: str, *versions: str, serial: int | str | None = 1, when: str = "2026-11-20T00:00:00Z", size: int = 9
    ) -> None:
        """Publish a project with an sdist and a wheel a version."""
        files = [
            {
                "filename": filename,
                "url": f"/f/{filename}",
                "hashes": {},
                "size": size,
                "upload-time": when or None,
            }
            for version in versions
            for filename in (f"{name}-{version}.tar.gz", f"{name}-{version}-py3-none-any.whl")
        ]
        meta = {"api-version": "1.1", **({} if serial is None else {"_last-serial": serial})}
        body = json.dumps({"meta": meta, "name": name, "files": files}).encode()
        self.pages[f"/simple/{name}/"] = ("application/vnd.pypi.simple.v1+json", body)

    def add_files(self, name: str, version: str, when: str, serial: int) -> None:
        """Publish one more release of a project."""
        kind, body = self.pages[f"/simple/{name}/"]
        document = json.loads(body)
        filename = f"{name}-{version}.tar.gz"
        document["files"].append({"filename": filename, "url": f"/f/{filename}", "hashes": {}, "upload-time": when})
        document["meta"]["_last-serial"] = serial
        self.pages[f"/simple/{name}/"] = (kind, json.dumps(document).encode())

    def rss(self, path: str, *links: str, head: str = "") -> None:
        """Publish a feed; the newest item is the first."""
        items = "".join(f"<item><title>t</title><link>{link}</link><pubDate>now</pubDate></item>" for link in links)
        body = f'<?xml version="1.0"?>{head}<rss version="2.0"><channel><title>c</title>{items}</channel></rss>'
        self.pages[path] = ("application/rss+xml", body.encode())


@pytest.fixture
def index() -> Iterator[SweptIndex]:
    with running(SweptIndex()) as server:
        assert isinstance(server, SweptIndex)
        yield server


@pytest.fixture
def fetcher(index: SweptIndex, tmp_path: Path) -> Iterator[Fetcher]:
    """Asks the index each time: nothing is served from its cache without a question."""
    settings = FetchSettings(index_urls=(f"{index.base}/simple",), index_ttl=0.0, timeout=5.0)
    with Fetcher(settings, Cache(tmp_path / "registry")) as made:
        yield made
