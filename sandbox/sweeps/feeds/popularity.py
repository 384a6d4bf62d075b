"""Trending packages: what grew between two snapshots of a popularity list."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sandbox.sweeps.feeds.feed import Entry, FeedError, Page, Refused
from sandbox.sweeps.feeds.names import parts_of, purl_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sandbox.sweeps.feeds.feed import Cursor

MAX_BYTES: Final = 32 * 1024**2
_MOST: Final = 50_000
"""Packages of a list; those further down are left out, and that is told."""
_LARGEST: Final = 2**53
_NAMES: Final = ("project", "name", "package")
_COUNTS: Final = ("download_count", "downloads", "count", "num_downloads")


class TrendingFeed:
    """Packages whose count grew, the most grown first.

    Args:
        read: Gives the list's bytes as they are now.
        growth: How many times its former count a package must have.
        least: The count that it must have now.
        top: How many are taken at most.
    """

    def __init__(self, read: Callable[[], bytes], *, growth: float, least: int, top: int) -> None:
        self._read = read
        self._growth = growth
        self._least = least
        self._top = top

    def pages(self, cursor: Cursor) -> Iterator[Page]:
        """See `Feed`: one page, with the list as the next sweep's former one."""
        counts, refused = read_popularity(self._read())
        notes = list(refused.notes())
        if not counts:
            raise FeedError("the popularity list names no package; check `source` in the sweep")
        former: dict[str, int] | None = cursor.get("counts")
        entries: tuple[Entry, ...] = ()
        if former is None:
            notes.append(f"first snapshot, of {len(counts)} packages: growth is seen from the next sweep on")
        else:
            if former == counts:
                notes.append("the popularity list is the same as at the last sweep")
            entries = tuple(self._grown(former, counts))
        yield Page(entries=entries[: self._top], cursor={"counts": counts}, bad=refused.count, notes=tuple(notes))

    def _grown(self, former: dict[str, int], counts: dict[str, int]) -> Iterator[Entry]:
        # A package that was not listed counts as if it had had one less than the list's last.
        floor = max(min(former.values(), default=1) - 1, 1)
        rates = {
            name: count / max(former.get(name, floor), 1) for name, count in counts.items() if count >= self._least
        }
        for name in sorted(rates, key=lambda name: (-rates[name], name)):
            if rates[name] < self._growth:
                return
            before = f"{former[name]:,}" if name in former else "not listed"
            yield Entry(purl=purl_of(name), why=f"{before}, now {counts[name]:,}: {rates[name]:.1f} times")


def read_popularity(body: bytes) -> tuple[dict[str, int], Refused]:
    """Names and counts, from JSON or CSV.

    Args:
        body: JSON: an object name -> count, a list of objects, or an object with such a list under `rows`. CSV: lines
            `name,count`, with or without a heading.

    Raises:
        FeedError: It is neither.
    """
    refused = Refused("packages of the popularity list")
    if len(body) > MAX_BYTES:
        raise FeedError(f"the popularity list is larger than {MAX_BYTES // 1024**2} MiB")
    rows = _json(body) if body.lstrip()[:1] in (b"{", b"[") else _csv(body)
    counts: dict[str, int] = {}
    for name, count in rows:
        if len(counts) >= _MOST:
            refused.add(str(name), f"the list is longer than {_MOST}")
            continue
        try:
            project, _ = parts_of(purl_of(str(name)))
            number = int(count)
            if not 0 <= number < _LARGEST:
                raise ValueError("its count is out of range")  # noqa: TRY301 - told like the others
        except (ValueError, TypeError, OverflowError) as error:
            refused.add(str(name)[:200], str(error)[:80])
        else:
            counts[project] = max(number, counts.get(project, 0))
    return counts, refused


def _json(body: bytes) -> Iterable[tuple[Any, Any]]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FeedError(f"the popularity list is not JSON: {error}") from error
    if isinstance(document, dict) and isinstance(document.get("rows"), list):
        document = document["rows"]
    if isinstance(document, dict):
        return list(document.items())
    if not isinstance(document, list):
        raise FeedError("the popularity list is JSON of another form; docs/sweeps.md shows what is read")
    return [(_first(row, _NAMES), _first(row, _COUNTS)) for row in document]


def _first(row: Any, keys: tuple[str, ...]) -> Any:  # noqa: ANN401 - any JSON value
    return next((row[key] for key in keys if key in row), None) if isinstance(row, dict) else None


def _csv(body: bytes) -> Iterable[tuple[Any, Any]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8", "replace"))) if row]
    except csv.Error as error:
        raise FeedError(f"the popularity list is neither JSON nor CSV: {error}") from error
    if rows and len(rows[0]) > 1 and not rows[0][1].strip().isdecimal():
        rows = rows[1:]
    return [(row[0].strip(), row[1].strip() if len(row) > 1 else None) for row in rows]
