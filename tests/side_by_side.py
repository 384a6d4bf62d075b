"""Lets the suite run in several processes at once (pytest-xdist): `make test` does, a plain `pytest` need not.

A file's tests stay in one process, which prepares what they share once; but those that are long and have nothing in
common go where there is room. What counts or removes things of the whole machine, which other tests make at the same
time, is marked `alone`: it waits until they have ended, and they wait for it. So it comes last, when nobody is left who
would wait; the long ones come first, and nothing is kept for a process that is busy while another is not.
"""

from __future__ import annotations

import fcntl
import os
import re
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from xdist.workermanage import WorkerController

_APART = re.compile(
    r"tests/(run|sandbox/pod|images)/test_(?!installed_wheel|ordinary_user|totals_of_a_user|docker_orphans|engine_images)"
    r"|tests/escape/test_(disturbance|traps)[.]py"
)
"""Node ids of tests that are long and share nothing."""
_STAGE = re.compile(r"tests/escape/test_escape[.]py::.*\[(docker-[a-z]+|bubblewrap-of-a-user|bubblewrap)")
"""All attempts of the escape suite are made in one run of each kind of pod."""
_PACKAGE = re.compile(
    r"tests/run/test_(?:samples|real_packages|docker_pods)[.]py::.*\[(.+)(?<!-twin)\]"
    r"|tests/run/test_docker_pods[.]py::.*-(twin)\]"
)
"""What each pod says of a package is compared with one run in the embedded pod; the benign twins are run together."""


class _Scheduling(LoadScopeScheduling):
    """Knows which tests belong together by their node ids, all that the process that hands them out ever sees."""

    def _split_scope(self, nodeid: str) -> str:
        if together := _STAGE.match(nodeid) or _PACKAGE.match(nodeid):
            return together[together.lastindex or 0]
        return nodeid if _APART.match(nodeid) else nodeid.partition("::")[0]

    def _reschedule(self, node: WorkerController) -> None:
        # A process runs a test once it knows the next one. Of single tests xdist hands out a third one already, which
        # then waits for two long ones while other processes have nothing left.
        if not self.workqueue or self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Scheduling:
    """How tests are handed out."""
    return _Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, then what starts pods or engines, so that nobody waits for it at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    marks = {mark.name for mark in item.iter_markers()}
    if "alone" in marks:
        return 3
    return 0 if "early" in marks else 1 if marks & {"pod", "docker"} else 2


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for those who must be alone, or for the others to end. The wait does not count as the test's time."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    if (room := item.config.stash.get(_ROOM, None)) is None:
        room = item.config.stash[_ROOM] = _Room(item.config)
    if item.get_closest_marker("alone") is None:
        room.enter(fcntl.LOCK_SH)
        return (yield)
    room.leave()
    room.enter(fcntl.LOCK_EX)
    try:
        return (yield)
    finally:
        room.leave()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Who has nothing left to do is in nobody's way."""
    if room := session.config.stash.get(_ROOM, None):
        room.close()


class _Room:
    """The room of a run: its processes are in it together, or one is alone.

    A process stays from its first test to its last, not to come back between two tests that are alone.
    """

    def __init__(self, config: pytest.Config) -> None:
        # The directory above the process's own is the run's.
        place: Path = config._tmp_path_factory.getbasetemp().parent
        self._file = (place / "room").open("wb")

    def enter(self, how: int) -> None:
        fcntl.flock(self._file, how)

    def leave(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()


_ROOM = pytest.StashKey[_Room]()
