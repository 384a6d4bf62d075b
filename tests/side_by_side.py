"""Lets the suite run in several processes at once (pytest-xdist): `make test` does, a plain `pytest` need not.

What is expensive to prepare is prepared once, as the tests that share it go to one process. What counts or removes
things of the whole machine, which other tests make at the same time, is marked `alone`: it waits until they have ended,
and they wait for it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

_CHEAP = frozenset({"base_image", "_machine", "pod"})
"""Fixtures that live long and cost nothing when they are made again."""
_SHARED = ("session", "package", "module")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares something; begin with what takes longest, so that nobody waits for it at the end."""
    for item in items:
        name = _shared(item)
        if name and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(name))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.get_closest_marker("early") is None)


def _shared(item: pytest.Item) -> str:
    """What a test has in common with others, by name; empty when there is nothing of the kind."""
    function = item if isinstance(item, pytest.Function) else None
    if function is None:
        return ""
    told = set()
    parameters = function.callspec.params if hasattr(function, "callspec") else {}
    for name, definitions in function._fixtureinfo.name2fixturedefs.items():
        definition = definitions[-1]
        if name not in _CHEAP and definition.scope in _SHARED and definition.baseid:
            told.add(f"{definition.baseid.replace('/', '.')}:{name}:{parameters.get(name, '')}")
    return " ".join(sorted(told))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for those who must be alone, or for the others to end. The wait does not count as the test's time."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    # The directory above the process's own is the run's.
    place = item.config._tmp_path_factory.getbasetemp().parent
    with _room(place, alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def _room(place: Path, *, alone: bool) -> Iterator[None]:
    """Be in the room with others, or alone. Who wants to be alone stands in the door, so that nobody else comes in."""
    with (place / "door").open("wb") as door, (place / "room").open("wb") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield
