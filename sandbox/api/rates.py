"""How often somebody may ask. In the server's own memory: it then needs nothing else that could be away.

A server counts for itself, so that behind a load balancer with N servers a token has up to N times the rate.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

_MOST_KEYS: Final = 10_000
_BURST: Final = 10
"""One part of so many of a minute's requests may come at once."""


class Rates:
    """Token buckets, one for each key; safe for threads, and bounded."""

    def __init__(self, per_minute: int) -> None:
        self._per_second = per_minute / 60
        self._burst = max(1.0, per_minute / _BURST)
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Count a request.

        Args:
            key: Who asks.
            now: Any clock that only goes forward, in seconds.

        Returns:
            0 when it may be served; else the seconds after which it may.
        """
        with self._lock:
            left, at = self._buckets.pop(key, (self._burst, now))
            left = min(self._burst, left + max(0.0, now - at) * self._per_second)
            served = left >= 1
            self._buckets[key] = (left - 1 if served else left, now)
            # The one that asked longest ago is the fullest, and loses least by being forgotten.
            if len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
        return 0.0 if served else (1 - left) / self._per_second

    def charge(self, key: str, more: int) -> None:
        """Count what a request that is served turned out to hold: the next one waits until that is paid for."""
        with self._lock:
            if more and key in self._buckets:
                left, at = self._buckets[key]
                self._buckets[key] = (left - more, at)
