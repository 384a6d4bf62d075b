"""The filter and Docker's profile as made from the one file, without any pod: what they answer to each call."""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path

import pytest

from sandbox import tracer
from sandbox.pod import seccomp
from sandbox.system_calls import system_calls

NATIVE, I386 = 0xC000003E, 0x40000003
ALLOW, TRACE, TRAP, ERRNO = 0x7FFF0000, 0x7FF00000, 0x00030000, 0x00050000
NUMBERS = system_calls().named()
REFUSED = {NUMBERS[call] for call in system_calls().refused("tracer", "kernel")}
CONDITIONAL = {NUMBERS[call] for rule in system_calls().arguments for call in rule.calls}


def answer(program: bytes, number: int, *arguments: int, architecture: int = NATIVE) -> int:
    """What the kernel would answer: classic BPF, the few instructions that the filter uses."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    place = held = 0
    while True:
        code, true, false, value = struct.unpack_from("=HBBI", program, place * 8)
        place += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (held,) = struct.unpack_from("=I", data, value)
            continue
        holds = {0x15: held == value, 0x25: held > value, 0x35: held >= value, 0x45: bool(held & value)}[code]
        place += true if holds else false


@pytest.mark.parametrize("above_tracer", [False, True])
def test_each_number_gets_one_answer(*, above_tracer: bool) -> None:
    program = seccomp.program(above_tracer=above_tracer)
    for number in range(2000):
        if number in CONDITIONAL:
            continue
        if number not in NUMBERS.values():
            expected = ERRNO | errno.ENOSYS
        elif number in REFUSED and not above_tracer:
            expected = TRACE
        else:
            expected = ALLOW
        assert answer(program, number) == expected, number
        # Whatever the number, a foreign interface is refused.
        assert answer(program, number, architecture=I386) == TRAP | errno.ENOEXEC
        assert answer(program, number | 0x40000000) == TRAP | errno.ENOEXEC


def test_a_call_that_the_tracer_has_answered_passes() -> None:
    assert answer(seccomp.program(), -1) == ALLOW


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("clone", (17,), ALLOW),
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (0x00800011,), TRAP | errno.ECHILD),
        ("clone", (0x10000011,), TRAP | errno.EUSERS),
        ("clone", (0x00020011,), TRAP | errno.EUSERS),
        ("clone", (0x40000011,), TRAP | errno.EUSERS),
        ("seccomp", (1, 0), ALLOW),
        ("seccomp", (1, 1), ALLOW),
        ("seccomp", (1, 8), TRAP | errno.EREMOTE),
        ("seccomp", (1, 9), TRAP | errno.EREMOTE),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), TRAP | errno.ENOTTY),
        ("ioctl", (0, 0x541C), TRAP | errno.ENOTTY),
        ("ioctl", (0x5412, 0x5401, 0x5412), ALLOW),
        # The kernel drops the high half of these; so does the filter.
        ("ioctl", (0, 0x1_0000_5412), TRAP | errno.ENOTTY),
        ("clone", (0x1_0000_0011,), ALLOW),
        ("socket", (1,), ALLOW),
        ("socket", (2,), ALLOW),
        ("socket", (10,), ALLOW),
        ("socket", (16,), ALLOW),
        ("socket", (17,), ERRNO | errno.EAFNOSUPPORT),
        ("socket", (40,), ERRNO | errno.EAFNOSUPPORT),
        ("socketpair", (40,), ERRNO | errno.EAFNOSUPPORT),
    ],
)
def test_arguments_decide(call: str, arguments: tuple[int, ...], expected: int) -> None:
    for above_tracer in (False, True):
        assert answer(seccomp.program(above_tracer=above_tracer), NUMBERS[call], *arguments) == expected


def test_the_numbers_are_the_kernels() -> None:
    known = {"read": 0, "clone": 56, "execve": 59, "ptrace": 101, "mount": 165, "init_module": 175, "openat": 257}
    known |= {"perf_event_open": 298, "setns": 308, "seccomp": 317, "bpf": 321, "rseq": 334, "io_uring_setup": 425}
    known |= {"pidfd_send_signal": 424, "clone3": 435, "set_mempolicy_home_node": 450}
    assert {call: NUMBERS[call] for call in known} == known
    assert len(NUMBERS) == 362
    assert sorted(NUMBERS.values()) == [*range(335), *range(424, 451)]


def test_no_call_is_refused_twice_and_each_has_a_name() -> None:
    calls = [call for rule in system_calls().calls for call in rule.calls]
    assert len(calls) == len(set(calls))
    assert set(calls) | {call for rule in system_calls().arguments for call in rule.calls} <= set(NUMBERS)


@pytest.mark.parametrize("mode", ["seccomp-bpf", "every-call"])
def test_the_tracer_records_what_is_refused_and_answers_what_the_set_up_does_not_need(mode: tracer.TracerMode) -> None:
    def told(options: tuple[str, ...]) -> tuple[set[str], set[str]]:
        words = tracer.command("strace", Path("trace"), ["true"], mode, options)
        (recorded,) = (word.removeprefix("--trace=") for word in words if word.startswith("--trace="))
        answered = [word.removeprefix("--inject=") for word in words if word.startswith("--inject=")]
        return set(recorded.split(",")), {call for word in answered for call in word.partition(":")[0].split(",")}

    every = set(system_calls().refused("tracer", "kernel"))
    for options, answered in ((tracer.OUTSIDE, set(system_calls().refused("tracer"))), (tracer.BESIDE, every)):
        recorded, injected = told(options)
        assert every <= recorded
        assert injected == answered
        # An answer to a call that is not recorded would not be in the trace.
        assert injected <= recorded


def test_dockers_profile_hides_no_attempt_from_the_tracer() -> None:
    profile = json.loads(seccomp.docker_profile())
    by_action = {rule["action"]: set(rule["names"]) for rule in profile["syscalls"]}
    assert set(by_action) == {"SCMP_ACT_ALLOW", "SCMP_ACT_TRACE"}
    # Nothing that has a name is answered by an error, which would come before the tracer.
    assert by_action["SCMP_ACT_ALLOW"] | by_action["SCMP_ACT_TRACE"] == set(NUMBERS)
    tracers = {"ptrace", "process_vm_readv", "process_vm_writev"}
    assert by_action["SCMP_ACT_TRACE"] == set(system_calls().refused("tracer", "kernel")) - tracers
    assert profile["defaultErrnoRet"] == errno.ENOSYS
    assert {"SCMP_ARCH_X86", "SCMP_ARCH_X32"} <= set(profile["architectures"])
