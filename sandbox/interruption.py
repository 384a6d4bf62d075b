"""Ctrl-C as a question that a run asks when it suits, not an exception that strikes anywhere."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Self


class Interruption:
    """While entered, the first SIGINT is only remembered; an impatient second one raises KeyboardInterrupt.

    Outside the main thread, where Python delivers no signals, it never hears of one.

    Args:
        also: Another reason to end, asked whenever the run asks.
    """

    def __init__(self, also: Callable[[], bool] = lambda: False) -> None:
        self._also = also
        self._heard = threading.Event()
        self._before: signal.Handlers | None = None

    def __enter__(self) -> Self:
        """Begin to listen."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)  # type: ignore[assignment]
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signal back to whom it belonged."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._heard.is_set():
            signal.default_int_handler(number, frame)
        self._heard.set()

    def __bool__(self) -> bool:
        """Whether somebody asked the run to end."""
        return self._heard.is_set() or self._also()
