"""The system call filter: only sockets that the pod answers, and no way round it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sandbox.pod.bench import StartPod

pytestmark = pytest.mark.pod

_PROBE = """
import ctypes, errno, os, signal, socket
for family in (socket.AF_VSOCK, socket.AF_PACKET, socket.AF_ALG, 45):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(family, kind)
        except OSError as error:
            assert error.errno == errno.EAFNOSUPPORT, (family, error)
        else:
            raise SystemExit(f"family {family} is open")
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
    socket.socket(family, socket.SOCK_STREAM).close()
socket.socketpair()
def trapped(number, *arguments):
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        os._exit(0)
    return os.waitpid(child, 0)[1] & 0x7F == signal.SIGSYS
print(trapped(0x40000000 | 39), trapped(56, 0x00800000 | signal.SIGCHLD, 0, 0, 0, 0), trapped(39))
"""


def test_only_sockets_that_the_pod_answers(start_pod: StartPod) -> None:
    with start_pod() as bench:
        phase = bench.python(_PROBE)
        assert (phase.status, phase.exit_code) == ("completed", 0), bench.output(phase, "stderr")
        # The x32 interface and an untraced child are refused in sight of the tracer; an ordinary call is not.
        assert bench.output(phase).split() == ["True", "True", "False"]
        assert bench.trace(phase).count("--- SIGSYS") == 2
