"""Ctrl-C and SIGTERM as an event: heard by a thread of its own, so that no lock is taken inside a signal handler."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})
_LOOK_S: Final = 0.2
_INTERRUPTED: Final = 130


@contextmanager
def stopping(stop: threading.Event, then: Callable[[], None]) -> Iterator[None]:
    """While entered, the first signal sets `stop` and calls `then`; a second ends the process at once.

    What is committed stays, and what is not is done again: an end at any moment loses nothing.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    done = threading.Event()
    thread = threading.Thread(target=_heed, args=(done, stop, then), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heed(done: threading.Event, stop: threading.Event, then: Callable[[], None]) -> None:
    while not done.is_set():
        if signal.sigtimedwait(_SIGNALS, _LOOK_S) is None:
            continue
        if stop.is_set():
            os._exit(_INTERRUPTED)
        stop.set()
        then()
