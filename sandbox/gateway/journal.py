"""Writes gateway.jsonl: one record a line, flushed each, within a bound."""

from __future__ import annotations

import time
from collections import Counter
from typing import BinaryIO

import msgspec

from collector.records import EndRecord, GatewayRecord, LimitRecord, LossRecord
from sandbox.errors import SandboxError

_LOSSES_EVERY = 1.0
"""Seconds for which losses are added up: enough to tell in which phase they were, and never a flood of lines."""


class JournalError(SandboxError):
    """The records cannot be written."""


class Journal:
    """Appends records; after the bound it says so once and only counts.

    Args:
        out: Unbuffered or buffered binary file, opened for appending.
        max_bytes: Bound on the bytes written.
    """

    def __init__(self, out: BinaryIO, max_bytes: int) -> None:
        self._out = out
        self._max = max_bytes
        self._left = max_bytes
        self._losses: dict[str, LossRecord] = {}
        self._said: set[str] = set()
        self._dropped: Counter[str] = Counter()
        self._written = 0
        self._encoder = msgspec.json.Encoder()

    def write(self, record: GatewayRecord) -> None:
        """Write one record down, or count it when the bound is reached."""
        line = self._encoder.encode(record) + b"\n"
        if len(line) > self._left:
            self._left = 0
            self._dropped[type(record).__name__] += 1
            self.limit("bytes of records: later ones are only counted")
            self.lost("gateway-bytes", self._max, len(line))
            return
        self._left -= len(line)
        self._put(line)

    def note(self, record: GatewayRecord) -> None:
        """Write one of our own few records down, whatever the bound."""
        self._put(self._encoder.encode(record) + b"\n")

    def limit(self, what: str) -> None:
        """Say once that a bound was reached."""
        if what not in self._said:
            self._said.add(what)
            self._put(self._encoder.encode(LimitRecord(ts=time.time(), what=what)) + b"\n")

    def lost(self, name: str, limit: int, size: int = 0) -> None:
        """Count one record that was not written, or one connection that was not answered.

        Args:
            name: The limit, as in `LossRecord`.
            limit: What it allows.
            size: Bytes that were not written.
        """
        now = time.time()
        before = self._losses.get(name)
        if before is not None and 0 <= now - before.ts < _LOSSES_EVERY:
            count, size = before.count + 1, before.size + size
            self._losses[name] = msgspec.structs.replace(before, count=count, size=size)
            return
        self._losses[name] = LossRecord(ts=now, name=name, limit=limit, count=1, size=size)
        if before is not None:
            self._put(self._encoder.encode(before) + b"\n")

    def close(self) -> None:
        """Say what was lost, if anything, and that this is the end; the file stays the caller's."""
        for loss in self._losses.values():
            self._put(self._encoder.encode(loss) + b"\n")
        if self._dropped:
            counts = ", ".join(f"{count} {name}" for name, count in sorted(self._dropped.items()))
            self.limit(f"not written: {counts}")
        self._put(self._encoder.encode(EndRecord(ts=time.time(), records=self._written)) + b"\n")

    def _put(self, line: bytes) -> None:
        try:
            self._out.write(line)
            self._out.flush()
            self._written += 1
        except OSError as error:
            # Not an OSError any more: a connection's handler must not take it for its peer's fault.
            raise JournalError(f"the gateway's records cannot be written: {error}; is the disk full?") from error
