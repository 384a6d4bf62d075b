"""Writes capture.pcapng: what was said, as packets that Wireshark opens and decrypts, and what else passed `lo`.

Interface 0, `conversations`, is put together from the bytes of each connection, as the client meant it: its own end is
192.0.2.1 or 2001:db8::1, the other the address it dialled before the namespace redirected it, the resolver 192.0.2.53.
The keys of each TLS connection stand before what they decrypt. Interface 1, `lo`, has the packets that the tap saw, as
they were: all that is no TCP, and the first packet (SYN) of each TCP connection, also of those that never reach us.
"""

from __future__ import annotations

import ipaddress
import os
import struct
import time
from typing import TYPE_CHECKING, BinaryIO, Final

from collector.records import CaptureRecord
from sandbox.gateway.journal import JournalError

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.gateway.config import GatewayConfig
    from sandbox.gateway.journal import Journal
    from sandbox.gateway.origin import Origin

CONVERSATIONS, LOOPBACK = 0, 1
"""Numbers of the interfaces."""
_RAW_IP: Final = 101
_SECTION, _INTERFACE, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 6, 10
_BYTE_ORDER: Final = 0x1A2B3C4D
_TLS_KEYS: Final = 0x544C534B
_IF_NAME: Final = 2
_SEGMENT: Final = 65000
_SAID: Final = 16 << 10
"""Bytes kept of what one connection is told: downloads are the registry's, and known by their digest."""
_CLIENT4, _CLIENT6 = ipaddress.ip_address("192.0.2.1").packed, ipaddress.ip_address("2001:db8::1").packed
_RESOLVER4, _RESOLVER6 = ipaddress.ip_address("192.0.2.53").packed, ipaddress.ip_address("2001:db8::53").packed
_TCP, _UDP = 6, 17
_FIN, _SYN, _PUSH, _ACK = 1, 2, 8, 16
_MASK: Final = 0xFFFFFFFF


class Capture:
    """A capture file, from its opening to `close`.

    Args:
        path: The file, which is made.
        journal: Told at the end how many packets there are.
        config: For the bound on the bytes written, after which packets are counted, and for the gateway's own ports.
    """

    def __init__(self, path: Path, journal: Journal, config: GatewayConfig) -> None:
        self._journal = journal
        self._left = config.limits.capture_bytes
        self._ports = (config.tcp_port, config.dns_port)
        self._packets = 0
        self._omitted = 0
        self._out: BinaryIO = path.open("xb")
        self.key_log = path.with_suffix(".keys")
        """File to which TLS contexts append their keys (`SSLContext.keylog_filename`)."""
        self._keys = os.open(self.key_log, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))
        for name in (b"conversations", b"lo"):
            option = struct.pack("<HH", _IF_NAME, len(name)) + _padded(name)
            self._block(_INTERFACE, struct.pack("<HHI", _RAW_IP, 0, 0) + option + bytes(4))

    def close(self) -> None:
        """Write what is pending and say how many packets there are; what comes later is left out."""
        self._left = 0
        os.close(self._keys)
        self._keys = -1
        self.key_log.unlink()
        try:
            self._out.close()
        except OSError as error:
            raise _unwritable(error) from error
        self._journal.note(
            CaptureRecord(ts=time.time(), packets=self._packets, omitted=self._omitted, ports=self._ports)
        )

    def packet(self, interface: int, data: bytes, length: int = 0, at: int = 0) -> None:
        """Write one IP packet down, or count it when the bound is reached.

        Args:
            interface: `CONVERSATIONS` or `LOOPBACK`.
            data: From its IP header on.
            length: Bytes that it had, when `data` lacks some.
            at: When, in microseconds since the epoch; now unless something else is given.
        """
        size = 32 + len(data) + -len(data) % 4
        if size > self._left:
            # Nothing more at all: a hole in a stream would look like lost packets.
            self._left = 0
            self._omitted += 1
            return
        self._left -= size
        self._packets += 1
        now = at or _now()
        head = struct.pack("<IIIII", interface, now >> 32, now & _MASK, len(data), length or len(data))
        self._block(_PACKET, head + _padded(data))

    def keys(self) -> None:
        """Write the TLS keys down that there are by now, within the bound of the file."""
        while self._keys >= 0 and (found := os.read(self._keys, 1 << 16)):
            # TLS appends in this thread, so nothing is lost; the file would grow with every handshake.
            if len(found) < 1 << 16:
                os.ftruncate(self._keys, 0)
                os.lseek(self._keys, 0, os.SEEK_SET)
            size = 20 + len(found) + -len(found) % 4
            # Packets after keys that have no room could not be read: they have none either.
            self._left = max(self._left - size, 0)
            if self._left:
                self._block(_SECRETS, struct.pack("<II", _TLS_KEYS, len(found)) + _padded(found))

    def asked(self, peer: str, port: int, question: bytes, reply: bytes) -> None:
        """Write a DNS question over UDP and its answer; no answer to what is no question."""
        six = ":" in peer
        client, server = (_CLIENT6, _RESOLVER6) if six else (_CLIENT4, _RESOLVER4)
        self.packet(CONVERSATIONS, _ip(client, server, _UDP, _udp(port, 53, question)))
        if reply:
            self.packet(CONVERSATIONS, _ip(server, client, _UDP, _udp(53, port, reply)))

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", len(body) + 12)
        try:
            self._out.write(struct.pack("<I", kind) + length + body + length)
        except OSError as error:
            raise _unwritable(error) from error


class Stream:
    """The packets of one TCP connection.

    Args:
        capture: Where they are written.
        origin: Both ends.
        heard_bytes: Bound on what is kept of the client's bytes.
    """

    def __init__(self, capture: Capture, origin: Origin, heard_bytes: int) -> None:
        self._capture = capture
        try:
            server = ipaddress.ip_address(origin.ip).packed
        except ValueError:
            server = bytes(4)
        client = _CLIENT4 if len(server) == len(_CLIENT4) else _CLIENT6
        self._ends = ((client, origin.peer_port), (server, origin.port))
        self._next = [0, 0]
        """Sequence numbers of the client and of the server."""
        self._room = [heard_bytes, _SAID]
        self._pending = b"", 0
        self._segment(0, _SYN)
        self._segment(1, _SYN | _ACK)
        self._segment(0, _ACK)

    def heard(self, data: bytes) -> None:
        """The client's bytes; none at its end."""
        self._settle()
        self._pending = data, _now()

    def said(self, data: bytes) -> None:
        """Bytes that the client was sent."""
        self._settle()
        self._data(1, data)

    def close(self) -> None:
        """The end of the connection."""
        self._settle()
        self._segment(1, _FIN | _ACK)
        self._segment(0, _FIN | _ACK)

    def _settle(self) -> None:
        """Write what was heard last: the keys that it needs are there only once TLS has read it."""
        self._capture.keys()
        (data, at), self._pending = self._pending, (b"", 0)
        self._data(0, data, at)

    def _data(self, side: int, data: bytes, at: int = 0) -> None:
        for start in range(0, len(data), _SEGMENT):
            piece = data[start : start + _SEGMENT]
            kept = piece[: self._room[side]]
            self._room[side] -= len(kept)
            self._segment(side, _PUSH | _ACK, kept, len(piece), at)

    def _segment(self, side: int, flags: int, data: bytes = b"", size: int = 0, at: int = 0) -> None:
        (source, port), (destination, other) = self._ends[side], self._ends[1 - side]
        sequence, acknowledged = self._next[side], self._next[1 - side] if flags & _ACK else 0
        header = struct.pack("!HHIIBBHHH", port, other, sequence, acknowledged, 5 << 4, flags, 0xFFFF, 0, 0)
        whole = _ip(source, destination, _TCP, header + data, size - len(data))
        self._capture.packet(CONVERSATIONS, whole, len(whole) + size - len(data), at)
        self._next[side] = (sequence + size + bool(flags & (_SYN | _FIN))) & _MASK


def _now() -> int:
    return time.time_ns() // 1000


def _ip(source: bytes, destination: bytes, protocol: int, payload: bytes, missing: int = 0) -> bytes:
    """An IP packet of which `missing` bytes at its end are not there."""
    length = len(payload) + missing
    if len(source) == len(_CLIENT6):
        return struct.pack("!IHBB", 6 << 28, length, protocol, 64) + source + destination + payload
    words = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, protocol, 0) + source + destination
    total: int = sum(struct.unpack("!10H", words))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return words[:10] + checksum.to_bytes(2, "big") + words[12:] + payload


def _udp(port: int, other: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", port, other, 8 + len(payload), 0) + payload


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _unwritable(error: OSError) -> JournalError:
    return JournalError(f"the gateway's capture cannot be written: {error}; is the disk full?")
