"""How fast captures are read: our reader beside dpkt's, on one core.

    .venv/bin/python -m tests.benchmarks.captures [--packets 200000] [--size 200] [--times 5]

Both read the same made-up capture from memory, in pcap and in pcapng, and count its bytes; the least of several times
counts. Not a test: nothing is asserted about speed, but both must have seen the same.
"""

from __future__ import annotations

import argparse
import io
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import dpkt

from collector.capture import ip_packet
from collector.pcap import Pcap
from tests.collector.captures import ipv4, packet, pcap, section, syn

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 1 << 16
_SYN: Final = 2


def _ours(content: bytes) -> tuple[int, int]:
    count = size = 0
    for frame in Pcap(content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK)):
        count += 1
        size += len(frame.data)
    return count, size


def _ours_read(content: bytes) -> tuple[int, int]:
    count = size = 0
    for frame in Pcap(content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK)):
        _, _, _, payload = ip_packet(frame)
        count += payload[13] == _SYN
        size += len(frame.data)
    return count, size


def _theirs_read(content: bytes) -> tuple[int, int]:
    count = size = 0
    for _, data in dpkt.pcapng.Reader(io.BytesIO(content)):
        count += dpkt.ip.IP(data).data.flags == _SYN
        size += len(data)
    return count, size


def _theirs(reader: Callable[[io.BytesIO], dpkt.pcap.Reader], content: bytes) -> tuple[int, int]:
    count = size = 0
    for _, data in reader(io.BytesIO(content)):
        count += 1
        size += len(data)
    return count, size


def _least(run: Callable[[], tuple[int, int]], times: int) -> tuple[float, tuple[int, int]]:
    best, seen = float("inf"), (0, 0)
    for _ in range(times):
        started = time.process_time()
        seen = run()
        best = min(best, time.process_time() - started)
    return best, seen


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="How fast captures are read.")
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=200, help="bytes of a packet")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    data = ipv4(6, "203.0.113.9", "127.0.0.1", syn(4000, 80) + bytes(max(options.size - 40, 0)))
    packets = [(1_795_347_400_000_000 + number, data) for number in range(options.packets)]
    modern = section() + b"".join(packet(number % 2, *each) for number, each in enumerate(packets))
    classic = _classic(packets)
    rows: tuple[tuple[str, Callable[[], tuple[int, int]], Callable[[], tuple[int, int]]], ...] = (
        ("pcap", partial(_ours, classic), partial(_theirs, dpkt.pcap.Reader, classic)),
        ("pcapng", partial(_ours, modern), partial(_theirs, dpkt.pcapng.Reader, modern)),
        ("pcapng, SYN counted", partial(_ours_read, modern), partial(_theirs_read, modern)),
    )
    print(f"{'':20}{'ours':>16}{'dpkt':>16}   (packets a second)")
    for name, our_run, their_run in rows:
        ours, seen = _least(our_run, options.times)
        theirs, other = _least(their_run, options.times)
        if seen != other:
            raise SystemExit(f"{name}: the readers disagree: {seen} and {other}")
        print(f"{name:20}{seen[0] / ours:>16,.0f}{seen[0] / theirs:>16,.0f}   {theirs / ours:.1f} times")


def _classic(packets: list[tuple[int, bytes]]) -> bytes:
    return pcap([]) + b"".join(pcap([each])[24:] for each in packets)


if __name__ == "__main__":
    main()
