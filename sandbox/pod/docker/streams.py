"""Streams between the worker and a program in a container: the engine's frames, taken apart and bounded."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping
    from pathlib import Path

_HEADER = struct.Struct(">BxxxL")
STDOUT, STDERR = 1, 2
_CHUNK = 1 << 16


class Streams(threading.Thread):
    """Drains a program's outputs into files, keeping the first bytes: a flood neither blocks nor fills."""

    def __init__(self, connection: Any, outputs: Mapping[int, Path], limit: int) -> None:  # noqa: ANN401 - of the library
        """Take a connection over.

        Args:
            connection: What `attach_socket` or `exec_start(socket=True)` of the docker library gave.
            outputs: Files by stream number (`STDOUT`, `STDERR`).
            limit: Bytes kept of each.
        """
        super().__init__(daemon=True, name="streams of a container")
        self._connection = connection
        # A unix socket comes wrapped in a file object.
        self._socket: socket.socket = getattr(connection, "_sock", connection)
        self._socket.settimeout(None)
        # What came together with the answer's head stands in the buffer of whoever read that.
        self._reader: io.BufferedReader = connection._response.raw._fp.fp  # noqa: SLF001 - the library has no other way
        self._outputs = outputs
        self._left = dict.fromkeys(outputs, limit)
        self.truncated = False
        self.line = threading.Event()
        """Set when the program has printed a line, or can print no more."""

    def run(self) -> None:
        """Read until the program's end."""
        with contextlib.ExitStack() as stack:
            files = {number: stack.enter_context(path.open("wb", 0)) for number, path in self._outputs.items()}
            with contextlib.suppress(OSError, ValueError):
                self._pump(files)
        self.line.set()

    def _pump(self, files: Mapping[int, BinaryIO]) -> None:
        while header := self._exactly(_HEADER.size):
            number, size = _HEADER.unpack(header)
            while size and (chunk := self._reader.read1(min(size, _CHUNK))):
                size -= len(chunk)
                self._keep(files, number, chunk)

    def _keep(self, files: Mapping[int, BinaryIO], number: int, chunk: bytes) -> None:
        if number not in files:
            return
        left = self._left[number]
        if len(chunk) > left:
            self.truncated = True
        files[number].write(chunk[:left])
        self._left[number] = left - min(len(chunk), left)
        if number == STDOUT and b"\n" in chunk:
            self.line.set()

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            chunk = self._reader.read1(size - len(found))
            if not chunk:
                return b""
            found += chunk
        return found

    def send(self, text: bytes) -> None:
        """Write to the program's standard input."""
        with contextlib.suppress(OSError):
            self._socket.sendall(text)

    def close_input(self) -> None:
        """Tell the program that nothing more comes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self, patience: float) -> None:
        """Wait for the program's end at most `patience` seconds, then hang up."""
        self.join(patience)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._connection.close()
        self._socket.close()
