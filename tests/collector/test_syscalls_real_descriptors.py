"""Which socket became which terminal, in real traces: the usual ways, and ways that shun dup2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.events import NetworkAccept, NetworkConnect, ProcessAccess, ProcessExec
from tests.collector.real import PYTHON, read, run

if TYPE_CHECKING:
    from pathlib import Path

    from collector.syscalls import Trace

PROGRAM = r"""
import ctypes, fcntl, os, signal, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(99)
HERE = listener.getsockname()
KEPT = []

def dial(number=None):
    peer = socket.socket()
    if number is not None:
        os.dup2(peer.fileno(), number)
    peer.connect(HERE)
    KEPT.append(peer)
    return peer

def shell(name):
    os.execv("/bin/sh", ["sh", "-c", ":", name])

def usual():
    os.dup2(dial().fileno(), 0)

def error_alone():
    os.dup2(dial().fileno(), 2)

def lowest():
    peer = dial(); libc.close(0); assert libc.dup(peer.fileno()) == 0

def duplicated_by_fcntl():
    peer = dial(); os.close(0); assert fcntl.fcntl(peer, fcntl.F_DUPFD, 0) == 0

def opened_for_exec_by_ioctl():
    peer = dial(); os.dup2(peer.fileno(), 0, inheritable=False); os.set_inheritable(0, True)

def opened_for_exec_by_fcntl():
    peer = dial(); os.dup2(peer.fileno(), 0, inheritable=False); fcntl.fcntl(0, fcntl.F_SETFD, 0)

def before_the_dial():
    dial(0)

def socket_itself():
    os.close(0); peer = socket.socket(); assert peer.fileno() == 0
    peer.connect(HERE); peer.set_inheritable(True); peer.detach()

def received():
    near, far = socket.socketpair(); peer = dial()
    socket.send_fds(near, [b"x"], [peer.fileno()]); os.close(0)
    assert socket.recv_fds(far, 1, 1)[1] == [0]
    os.set_inheritable(0, True)

def received_from_a_child():
    near, far = socket.socketpair()
    if os.fork() == 0:
        socket.send_fds(near, [b"x"], [dial().fileno()]); os._exit(0)
    os.close(0)
    assert socket.recv_fds(far, 1, 1)[1] == [0]
    os.set_inheritable(0, True); os.wait()

def by_a_thread():
    thread = threading.Thread(target=usual); thread.start(); thread.join()

def inherited():
    usual()
    if os.fork():
        os.wait(); os._exit(0)

def shared_table():
    CLONE_FILES = 0x400
    if libc.syscall(56, CLONE_FILES | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        usual(); os._exit(0)
    os.wait()

def accepted():
    other = dial(); os.close(0); connection, _ = listener.accept()
    assert connection.fileno() == 0
    connection.set_inheritable(True); connection.detach()

def by_another_name():
    usual(); os.chdir("/"); os.execv("/usr/bin/env", ["env", "sh", "-c", ":", "by_another_name"])

def replaced():
    usual(); os.close(0); os.open("/dev/null", os.O_RDONLY)

def replaced_by_a_pipe():
    usual(); read, _ = os.pipe(); os.dup2(read, 0)

def not_a_terminal():
    fcntl.fcntl(dial(), fcntl.F_DUPFD, 3)

def never_dialled():
    idle = socket.socket(); os.dup2(idle.fileno(), 0)

def a_pair():
    near, far = socket.socketpair(); os.dup2(near.fileno(), 0); os.dup2(near.fileno(), 1)

def swept():
    usual(); libc.syscall(436, 0, 2, 0)

for form in (usual, error_alone, lowest, duplicated_by_fcntl, opened_for_exec_by_ioctl, opened_for_exec_by_fcntl,
             before_the_dial, socket_itself, received, received_from_a_child, by_a_thread, inherited, shared_table,
             accepted, by_another_name, replaced, replaced_by_a_pipe, not_a_terminal, never_dialled, a_pair, swept):
    if os.fork() == 0:
        form(); shell(form.__name__)
    assert os.wait()[1] == 0, form

peer = dial()
subprocess.run(["sh", "-c", ":", "subprocess"], stdin=peer, check=True)
output = (os.POSIX_SPAWN_DUP2, peer.fileno(), 1)
os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", ":", "posix_spawn"], {}, file_actions=[output]), 0)
assert libc.syscall(438, os.pidfd_open(os.getpid()), 0, 0) == -1
"""

ON_A_SOCKET = (
    *("usual", "error_alone", "lowest", "duplicated_by_fcntl", "opened_for_exec_by_ioctl", "opened_for_exec_by_fcntl"),
    *(
        "before_the_dial",
        "socket_itself",
        "received",
        "received_from_a_child",
        "by_a_thread",
        "inherited",
        "shared_table",
    ),
    *("by_another_name", "subprocess", "posix_spawn"),
)
ON_NONE = ("replaced", "replaced_by_a_pipe", "not_a_terminal", "never_dialled", "a_pair", "swept")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    directory: Path = tmp_path_factory.mktemp("descriptors")
    command = [PYTHON, "-I", "-S", "-c", PROGRAM]
    return read(run(directory, command, status=0).read_bytes().splitlines(), command)[0]


def stdio(trace: Trace, form: str) -> str:
    executed = [event for event in trace.events if isinstance(event, ProcessExec) and not event.errno]
    (found,) = [event.stdio for event in executed if event.argv[3:] == (form,)]
    return found


@pytest.mark.parametrize("form", ON_A_SOCKET)
def test_a_shell_on_a_socket(trace: Trace, form: str) -> None:
    (peer,) = {f"{event.ip}:{event.port}" for event in trace.events if isinstance(event, NetworkConnect)}
    assert stdio(trace, form) == peer


def test_a_shell_on_a_connection_that_came_in(trace: Trace) -> None:
    came = [f"{event.ip}:{event.port}" for event in trace.events if isinstance(event, NetworkAccept)]
    assert [stdio(trace, "accepted")] == came


@pytest.mark.parametrize("form", ON_NONE)
def test_a_shell_on_no_socket(trace: Trace, form: str) -> None:
    assert stdio(trace, form) == ""


def test_taking_a_descriptor_of_another_process_is_refused_and_told(trace: Trace) -> None:
    taken = [event for event in trace.events if getattr(event, "call", "") == "pidfd_getfd"]
    assert [(type(event).__struct_config__.tag, event.errno) for event in taken] == [("kernel.call", "EPERM")]
    assert not [event for event in trace.events if isinstance(event, ProcessAccess)]
