"""The system call profile at work: whatever it names is refused, and every attempt it promises to show is an event."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from collector.events import KernelCall
from collector.live_processes import ProcessTableBuilder
from collector.syscalls import read_trace
from sandbox.pod import seccomp
from sandbox.pod.bubblewrap import BubblewrapPod
from sandbox.pod.docker import engine, images
from sandbox.pod.tools import find_tools
from sandbox.system_calls import system_calls
from tests.sandbox.pod import engines
from tests.sandbox.pod.attempts import ATTEMPTS, SIGSYS
from tests.sandbox.pod.bench import Bench, make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.events import AnyEvent
    from sandbox.images import BaseImage
    from sandbox.tracer import TracerMode
    from tests.sandbox.pod.bench import StartPod

pytestmark = pytest.mark.pod

REFUSED = tuple(system_calls().refused("tracer", "kernel"))
PROGRAM = ATTEMPTS.replace("CALLS", repr({call: system_calls().named()[call] for call in REFUSED}))


@contextmanager
def embedded(base_image: BaseImage, directory: Path, mode: TracerMode) -> Iterator[Bench]:
    evidence = directory / "evidence"
    evidence.mkdir()
    plan = msgspec.structs.replace(make_plan(base_image, directory), tracer_mode=mode)
    with BubblewrapPod(plan, evidence) as pod:
        yield Bench(pod, evidence)


def attempted(bench: Bench) -> tuple[dict[str, str], tuple[AnyEvent, ...]]:
    """What each attempt came to, and what the collector makes of the trace."""
    phase = bench.python(PROGRAM)
    assert (phase.status, phase.exit_code) == ("completed", 0), bench.output(phase, "stderr")
    assert phase.trace_complete
    trace = read_trace(phase, "t", bench.trace(phase).encode().splitlines(keepends=True), ProcessTableBuilder())
    assert (trace.counts.unparsed, trace.orphans) == (0, 0)
    return json.loads(bench.output(phase)), trace.events


def check(results: dict[str, str], events: tuple[AnyEvent, ...], *, foreign: bool = True) -> None:
    for rule in system_calls().calls:
        for call in rule.calls:
            # ENOSPC: a user namespace that may have none below it.
            allowed = {rule.error} if rule.answer == "tracer" else {"EPERM", "ENOSYS", "ENOSPC"}
            assert results[call] in allowed, (call, results[call])
            assert any(
                getattr(event, "call", "") == call and getattr(event, "errno", "") == results[call] for event in events
            ), call
    signals = {name: told for name, told in SIGSYS.items() if foreign or name != "i386"}
    trapped = [event for event in events if isinstance(event, KernelCall) and "si_errno" in event.args]
    for name, (call, mark) in signals.items():
        assert results[name] == "SIGSYS", name
        assert any((event.call, event.errno) == (call, "SIGSYS") and mark in event.args for event in trapped), name
    assert len(trapped) == len(signals)
    assert_ordinary(results)


def assert_ordinary(results: dict[str, str]) -> None:
    """What does not depend on a tracer, and what goes on working."""
    for number in (400, 451, 452, 1000):
        assert results[f"number {number}"] == "ENOSYS"
    assert {name: result for name, result in results.items() if name.startswith("family ")} == {
        **dict.fromkeys(("family 1", "family 2", "family 10", "family 16"), "0"),
        **dict.fromkeys(("family 17", "family 38", "family 40", "family 45"), "EAFNOSUPPORT"),
    }
    assert (results["threads"], results["ioctl"]) == ("4", "ENOTTY")


@pytest.mark.parametrize("mode", ["seccomp-bpf", "every-call"])
def test_every_refused_call_fails_and_is_an_event(base_image: BaseImage, tmp_path: Path, mode: TracerMode) -> None:
    with embedded(base_image, tmp_path, mode) as bench:
        check(*attempted(bench))


def test_the_same_in_every_pod(start_pod: StartPod, pod_name: str) -> None:
    with start_pod() as bench:
        results, events = attempted(bench)
    # gVisor has no interface for i386: `int 0x80` is there an ordinary call by x86_64's numbers.
    check(results, events, foreign=pod_name != "docker-runsc")


_FAMILIES = """
import errno, socket
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
"""


def test_only_sockets_that_the_pod_answers(start_pod: StartPod) -> None:
    with start_pod() as bench:
        phase = bench.python(_FAMILIES)
        assert (phase.status, phase.exit_code) == ("completed", 0), bench.output(phase, "stderr")


def test_without_a_tracer_everything_is_refused_all_the_same(base_image: BaseImage) -> None:
    with tempfile.TemporaryFile() as program:
        program.write(seccomp.program())
        program.seek(0)
        command = [
            find_tools().bwrap,
            *("--unshare-all", "--uid", "1000", "--ro-bind", str(base_image.rootfs), "/", "--dev", "/dev"),
            *("--proc", "/proc", "--tmpfs", "/tmp", "--seccomp", str(program.fileno()), "--"),
            *("/usr/bin/python3", "-c", PROGRAM),
        ]
        ran = subprocess.run(command, pass_fds=(program.fileno(),), capture_output=True, text=True, check=True)
    results = json.loads(ran.stdout)
    assert {call: results[call] for call in REFUSED} == dict.fromkeys(REFUSED, "ENOSYS")
    assert {name: results[name] for name in SIGSYS} == dict.fromkeys(SIGSYS, "SIGSYS")
    assert_ordinary(results)


@pytest.mark.docker
def test_dockers_profile_holds_the_containers_root_too(base_image: BaseImage) -> None:
    engines.need("docker-runc")
    # With the capability for all of it, and no filter but the container's own.
    client = engine.connect()
    try:
        said = client.containers.run(
            images.ensure(client, base_image.rootfs, find_tools().strace).tracee,
            ["-c", PROGRAM],
            entrypoint="/usr/bin/python3",
            user="0:0",
            cap_drop=["ALL"],
            cap_add=["SYS_ADMIN", "SYS_PTRACE"],
            runtime="runc",
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": ""},
            security_opt=["no-new-privileges", f"seccomp={seccomp.docker_profile()}"],
            remove=True,
        )
    finally:
        client.close()
    results = json.loads(said)
    left = {"ptrace", "process_vm_readv", "process_vm_writev"}
    assert {call: results[call] for call in REFUSED if call not in left} == dict.fromkeys(
        (call for call in REFUSED if call not in left), "ENOSYS"
    )
    # The tracer's own calls reach the kernel, which has its own answer to these arguments.
    assert all(results[call] != "ENOSYS" for call in left)
    assert {results[f"number {number}"] for number in (451, 452, 1000)} == {"ENOSYS"}
