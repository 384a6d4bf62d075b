"""Looks several projects up at a time, politely."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeAlias

from sandbox.registry.errors import NotFoundError, RegistryError
from sandbox.sweeps.feeds.feed import FeedError
from sandbox.sweeps.feeds.project import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from sandbox.registry.fetch import Fetcher

Looked: TypeAlias = Project | RegistryError | None
"""What the indexes say; or why they could not be asked; `None` for a project that they do not know."""

_AT_ONCE: Final = 4
_SILENT: Final = 8
"""Projects one after the other about which the index does not answer: then it is the index."""


class Lookup:
    """Asks the indexes about projects; a context manager."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="look-up")
        self._silent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def ask(self, names: Iterable[str]) -> dict[str, Looked]:
        """What is said about each project.

        Raises:
            FeedError: The index answers about none of many.
        """
        wanted = list(dict.fromkeys(names))
        found = dict(zip(wanted, self._pool.map(self._one, wanted), strict=True))
        for looked in found.values():
            silent = isinstance(looked, RegistryError) and not isinstance(looked, NotFoundError)
            self._silent = self._silent + 1 if silent else 0
            if self._silent >= _SILENT:
                raise FeedError(f"the index does not answer: {looked}; the sweep goes on from here next time")
        return found

    def _one(self, name: str) -> Looked:
        try:
            return read_project(self._fetcher, name)
        except RegistryError as error:
            return error
