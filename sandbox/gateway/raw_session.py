"""Bytes that are neither TLS nor HTTP: kept, and answered a little, so that more comes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from collector.records import RawRecord
from sandbox.gateway.detect import SHELL_COMMAND
from sandbox.gateway.dialogues import dialogue_for

if TYPE_CHECKING:
    from sandbox.gateway.channel import Channel
    from sandbox.gateway.origin import Origin
    from sandbox.gateway.services import Services

_MAX_SAID = 4096


class RawSession:
    """Listens on one channel until it ends.

    Args:
        services: What all connections share.
        channel: Where the bytes come from.
        origin: What was dialled.
        conn: Number of the connection.
        said: What the peer was already told.
    """

    def __init__(self, services: Services, channel: Channel, origin: Origin, conn: int, said: bytes) -> None:
        self._services = services
        self._channel = channel
        self._conn = conn
        self._said = said
        self._dialogue = dialogue_for(origin.port)
        self._kept = bytearray()
        self._size = 0

    async def run(self) -> bool:
        """Keep what the peer sends; one that pauses is given a command, as a shell would wait for.

        Returns:
            True when the peer asked to go on with TLS (STARTTLS).

        Raises:
            OSError: The connection broke or was silent for too long.
        """
        started = time.time()
        try:
            while not self._dialogue.secured:
                if not await self._listen():
                    return False
        finally:
            if self._size or self._said:
                self._services.journal.write(
                    RawRecord(
                        ts=started,
                        conn=self._conn,
                        payload=bytes(self._kept),
                        size=self._size,
                        truncated=self._size > len(self._kept),
                        answered=self._said,
                    ),
                )
        return True

    async def _listen(self) -> bool:
        """Take the next bytes; False at the end."""
        limits = self._services.limits
        try:
            data = await self._channel.receive(limits.idle_seconds if self._said else limits.silence_seconds)
        except TimeoutError:
            if self._said:
                raise
            await self._say(SHELL_COMMAND)
            return True
        self._size += len(data)
        self._kept += data[: max(0, limits.body_bytes - len(self._kept))]
        if reply := self._dialogue.reply(data):
            await self._say(reply)
        return bool(data)

    async def _say(self, data: bytes) -> None:
        self._said = (self._said + data)[:_MAX_SAID]
        await self._channel.send(data)
