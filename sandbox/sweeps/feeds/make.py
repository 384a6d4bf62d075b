"""From a sweep's plan to its feed."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from sandbox.registry.errors import RegistryError
from sandbox.registry.fetch import Fetcher
from sandbox.sweeps.feeds.feed import FeedError
from sandbox.sweeps.feeds.files import read_bounded
from sandbox.sweeps.feeds.index_feed import IndexFeed
from sandbox.sweeps.feeds.listed import ListedFeed
from sandbox.sweeps.feeds.osv import OsvFeed
from sandbox.sweeps.feeds.popularity import MAX_BYTES, TrendingFeed
from sandbox.sweeps.feeds.watch import WatchFeed

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.sweeps.feeds.feed import Feed
    from sandbox.sweeps.plan import FeedPlan

_PROJECTS: Final = "/rss/packages.xml"
_RELEASES: Final = "/rss/updates.xml"
_GROWTH: Final = 2.0
_LEAST: Final = 1_000
_TOP: Final = 500


def make_feed(plan: FeedPlan, directory: Path, fetcher: Fetcher, now: float) -> Feed:
    """The feed that a checked plan describes.

    Args:
        plan: What `sandbox.sweeps.load` let through.
        directory: Where relative paths start.
        fetcher: Asks the configured indexes.
        now: UTC seconds since the epoch.
    """
    source, watch = directory / (plan.source or ""), directory / (plan.watch or "")
    match plan.kind:
        case "new-projects":
            return IndexFeed(fetcher, "projects", plan.path or _PROJECTS)
        case "updates":
            polled = WatchFeed(fetcher, watch, now=now) if plan.watch else None
            return IndexFeed(fetcher, "releases", plan.path or _RELEASES, polled)
        case "releases":
            return WatchFeed(fetcher, watch, now=now, since=_midnight(plan.since or ""))
        case "file":
            return ListedFeed(source)
        case "osv":
            return OsvFeed(source)
        case "trending":
            return TrendingFeed(
                lambda: _popularity(plan.source or "", directory, fetcher),
                growth=_GROWTH if plan.growth is None else plan.growth,
                least=_LEAST if plan.least is None else plan.least,
                top=_TOP if plan.top is None else plan.top,
            )


def _midnight(text: str) -> float:
    day = date.fromisoformat(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _popularity(source: str, directory: Path, fetcher: Fetcher) -> bytes:
    if "://" not in source:
        return read_bounded(directory / source, MAX_BYTES)
    # Another host than the index's: pip's certificates, none of pip's credentials, and no redirect elsewhere.
    settings = msgspec.structs.replace(fetcher.settings, index_urls=(source,), credentials={}, client_cert="")
    with ExitStack() as stack:
        try:
            other = stack.enter_context(Fetcher(settings, fetcher.cache))
            return other.stored(source, max_bytes=MAX_BYTES).blob.path.read_bytes()
        except RegistryError as error:
            raise FeedError(f"the popularity list cannot be fetched: {error}; check `source` in the sweep") from error
