"""The program of the tracer's self-test, and what its trace and the gateway's records must have of it.

It forks, threads, executes, makes calls that a pod refuses, dials an address and asks for a name: each many times or in
many processes, since what a tracer loses it loses between processes that run at the same time.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from collector.records import ConnectionRecord, DnsRecord, EndRecord, GatewayRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FORKS, _THREADS, _OPENS, _PROGRAMS = 8, 4, 10, 5
_NOWHERE = "/fumehood-self-test"
_ADDRESS, _PORT, _HOST = "198.51.100.77", 4711, "self-test.fumehood.test"
_REFUSED = ("unshare", "ptrace", "io_uring_setup")
"""Calls that every pod refuses, by our filter, by the tracer or by the kernel; each worker makes each once."""

PROGRAM = f"""
import ctypes, os, socket, sys, threading
libc = ctypes.CDLL(None)
def refused():
    libc.unshare(0x10000000)
    libc.ptrace(0, 0, 0, 0)
    libc.syscall(425, 0, 0)
def probe(name):
    for i in range({_OPENS}):
        try:
            open("{_NOWHERE}/%s/%d" % (name, i))
        except OSError:
            pass
        if i == {_OPENS // 2}:
            refused()
def dial():
    try:
        with socket.create_connection(("{_ADDRESS}", {_PORT}), 10) as connection:
            connection.sendall(b"fumehood self-test\\n")
    except OSError:
        pass
    try:
        socket.getaddrinfo("{_HOST}", {_PORT})
    except OSError:
        pass
ends = {{}}
for n in range({_FORKS}):
    pid = os.fork()
    if pid == 0:
        probe("fork%d" % n)
        os._exit(0)
    ends[pid] = 0
threads = [threading.Thread(target=probe, args=("thread%d" % n,)) for n in range({_THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for n in range({_PROGRAMS}):
    pid = os.fork()
    if pid == 0:
        os.execv("/bin/cat", ["cat", "{_NOWHERE}/program%d/0" % n])
    ends[pid] = 1
dial()
ended = dict(os.wait() for _ in ends)
sys.exit({{pid: os.waitstatus_to_exitcode(status) for pid, status in ended.items()}} != ends)
"""
"""Ends with 0 when each of its processes ended as it should; with another code it tells nothing of the tracer."""

ARGV = ("/usr/bin/python3", "-I", "-S", "-c", PROGRAM)

_OPENED = re.compile(rf'open(?:at)?\([^"]*"{_NOWHERE}/([a-z0-9]+)/\d+"')
_EXECUTED = re.compile(r'execve\("/bin/cat"')
_DIALLED = re.compile(rf"connect\(.*{re.escape(_ADDRESS)}")
_WAS_REFUSED = re.compile(rf"^(?:\d+ +)?[\d.]+ ({'|'.join(_REFUSED)})\(", re.MULTILINE)


def missing_calls(trace: str) -> str:
    """What of the program's calls is not in its trace; empty when nothing is."""
    workers = [f"{kind}{n}" for kind, count in (("fork", _FORKS), ("thread", _THREADS)) for n in range(count)]
    wanted = Counter(dict.fromkeys(workers, _OPENS))
    wanted.update({f"program{n}": 1 for n in range(_PROGRAMS)})
    checks = (
        ("opens", wanted, Counter(_OPENED.findall(trace))),
        ("programs", Counter(cat=_PROGRAMS), Counter(cat=len(_EXECUTED.findall(trace)))),
        ("refused calls", Counter(dict.fromkeys(_REFUSED, len(workers))), Counter(_WAS_REFUSED.findall(trace))),
        ("connections", Counter(dial=1), Counter(dial=len(_DIALLED.findall(trace)))),
    )
    for what, expected, seen in checks:
        if gone := expected - seen:
            return f"{gone.total()} of {expected.total()} {what} are not in the trace"
    return ""


class Network(msgspec.Struct, frozen=True):
    """What the gateway recorded of the program."""

    whole: bool
    """The gateway ended in order: what is not in its records did not reach it."""
    missing: str
    """What did not reach it; empty when everything did."""


def network(records: Iterable[bytes]) -> Network:
    """What the gateway's records, one JSON object a line, have of the program."""
    found = tuple(_decoded(records))
    dialled = any(isinstance(r, ConnectionRecord) and (r.ip, r.port) == (_ADDRESS, _PORT) for r in found)
    asked = any(isinstance(record, DnsRecord) and record.name == _HOST for record in found)
    gone = [what for what, reached in (("a connection", dialled), ("a DNS question", asked)) if not reached]
    return Network(whole=any(isinstance(record, EndRecord) for record in found), missing=" and ".join(gone))


def _decoded(records: Iterable[bytes]) -> Iterator[GatewayRecord]:
    for line in records:
        try:
            yield msgspec.json.decode(line, type=GatewayRecord)
        except msgspec.DecodeError:
            # The last line of a gateway that was killed; `whole` is then false.
            return
