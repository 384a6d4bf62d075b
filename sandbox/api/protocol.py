"""HTTP as uvicorn speaks it, with patience that ends: a connection that never says what it wants is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio


class Protocol(H11Protocol):
    """One connection. uvicorn itself waits for a first request for ever, and there is room for a few hundred."""

    first_request_s: ClassVar[float] = 20.0
    """Within so many seconds the head of the first request is there, or nothing is."""
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait."""
        super().connection_made(transport)
        self._waiting = self.loop.call_later(self.first_request_s, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if not self.cycle and not self.transport.is_closing():
            self.transport.close()
