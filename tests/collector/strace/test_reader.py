"""Lines of traces as strace 6.1 wrote them, and lines no strace would write."""

from __future__ import annotations

import re

import pytest

from collector.strace import Call, Descriptor, Exit, Item, Note, Signal, Text, Unparsed, Word, grammar, parse, values


def items(text: bytes) -> list[Item]:
    return list(parse(text.splitlines(keepends=True)))


def only_call(text: bytes) -> Call:
    (item,) = items(text)
    assert isinstance(item, Call)
    return item


def test_an_ordinary_call() -> None:
    call = only_call(b'20    1795347409.728915 openat(AT_FDCWD</srv/x>, "a", O_RDONLY) = 3</srv/x/a>\n')
    assert (call.line, call.end, call.pid, call.ts, call.name) == (1, 1, 20, 1795347409.728915, "openat")
    assert (call.result, call.errno, call.unfinished) == (3, "", False)
    assert call.descriptor() == Descriptor(3, b"/srv/x/a")
    arguments = call.arguments()
    assert arguments is not None
    assert [argument.value for argument in arguments][1:] == [Text(b"a"), Word(b"O_RDONLY")]


@pytest.mark.parametrize(
    ("text", "result", "errno"),
    [
        (b"= -1 ENOENT (No such file or directory)", -1, "ENOENT"),
        (b"= -1 EPERM (Operation not permitted) (INJECTED)", -1, "EPERM"),
        (b"= ? ERESTARTSYS (To be restarted if SA_RESTART is set)", None, "ERESTARTSYS"),
        (b"= ?", None, ""),
        (b"= 0 (PER_LINUX)", 0, ""),
        (b"= 0x7f00", 0x7F00, ""),
        (b"= -1 (errno 512)", -1, ""),
        # Of a thread that was killed in the call: the number is another call's, and the call may have succeeded.
        (b"= -1 (errno 18446744073709551554)", None, ""),
        (b"       = 2", 2, ""),
    ],
)
def test_results(text: bytes, result: int | None, errno: str) -> None:
    call = only_call(b"1 1.5 personality(0xffffffff) " + text)
    assert (call.result, call.errno) == (result, errno)


def test_the_result_is_found_behind_paths_that_look_like_one() -> None:
    call = only_call(rb'1 1.5 openat(AT_FDCWD</a) = 1>, ") = 2", O_RDONLY) = 3</b) = 4 /* 5 in strace\'s PID NS */>')
    assert call.result == 3
    assert call.outer_pid is None
    assert call.descriptor() == Descriptor(3, b"/b) = 4 /* 5 in strace's PID NS */")


def test_the_pid_of_a_child_in_the_tracers_namespace() -> None:
    call = only_call(b"19 1.5 clone(child_stack=NULL, flags=SIGCHLD) = 2 /* 20 in strace's PID NS */")
    assert (call.result, call.outer_pid) == (2, 20)


def test_calls_by_number_and_without_arguments() -> None:
    assert only_call(b"1 1.5 syscall_0x309(0x1, 0x2, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)").name == (
        "syscall_0x309"
    )
    assert only_call(b"1 1.5 setsid()        = 2").arguments() == ()


def test_interrupted_calls_are_joined_by_process() -> None:
    found = items(
        b"20 1.1 vfork( <unfinished ...>\n"
        b'21 1.2 execve("/usr/bin/sh", ["sh"], 0x7ff /* 42 vars */ <unfinished ...>\n'
        b"20 1.3 <... vfork resumed>) = 3 /* 21 in strace's PID NS */\n"
        b"21 1.4 <... execve resumed>) = 0\n"
        b"21 1.5 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n"
        b"21 1.6 <... clone resumed>, child_tidptr=0x7f7) = 5 /* 23 in strace's PID NS */\n"
    )
    calls = [item for item in found if isinstance(item, Call)]
    assert [(call.name, call.pid, call.line, call.end, call.ts) for call in calls] == [
        ("vfork", 20, 1, 3, 1.1),
        ("execve", 21, 2, 4, 1.2),
        ("clone", 21, 5, 6, 1.5),
    ]
    assert [call.outer_pid for call in calls] == [21, None, 23]
    assert calls[2].raw == b"child_stack=NULL, flags=SIGCHLD, child_tidptr=0x7f7"


def test_a_call_in_flight_when_its_process_ends_is_still_told() -> None:
    found = items(
        b"20 1.1 connect(3<TCP:[1]>, {sa_family=AF_UNSPEC}, 16 <unfinished ...>\n"
        b"21 1.2 +++ exited with 0 +++\n"
        b"20 1.3 +++ killed by SIGKILL (core dumped) +++\n"
        b'22 1.4 execve("/bin/true", ["true"], 0x7f /* 1 var */ <unfinished ...>\n'
    )
    assert [type(item) for item in found] == [Exit, Call, Exit, Call]
    assert found[2] == Exit(3, 20, 1.3, 0, "SIGKILL")
    flying = [item for item in found if isinstance(item, Call)]
    assert [(call.name, call.line, call.end, call.unfinished, call.result) for call in flying] == [
        ("connect", 1, 0, True, None),
        ("execve", 4, 0, True, None),
    ]
    assert all(call.arguments() for call in flying)


@pytest.mark.parametrize(
    "text",
    [
        b"20 1.1 kill(7, SIGKILL <unfinished ...>) = ?\n",
        b"20 1.1 kill(7, SIGKILL <unfinished ...>\n20 1.2 <... kill resumed> <unfinished ...>) = ?\n",
    ],
)
def test_a_call_that_its_process_died_in(text: bytes) -> None:
    call = only_call(text)
    assert (call.raw, call.result, call.unfinished) == (b"7, SIGKILL", None, True)


@pytest.mark.parametrize(
    "text",
    [
        b"20 1.1 ???()           = ?\n20 1.2 +++ exited with 3 +++\n",
        b"20 1.1 ???( <unfinished ...>) = ?\n20 1.2 +++ exited with 3 +++\n",
        b"20 1.1 ???( <unfinished ...>\n20 1.2 <... ??? resumed>) = ?\n20 1.3 +++ killed by SIGKILL +++\n",
        b"20 1.1 ???( <unfinished ...>\n20 1.2 <... ??? resumed> <unfinished ...>) = ?\n20 1.3 +++ exited with 0 +++\n",
        b"20 1.1 ???( <unfinished ...>\n21 1.2 setsid() = 2\n20 1.3 +++ killed by SIGSEGV +++\n",
        b"20 1.1 ????( <unfinished ...>\n20 1.2 +++ superseded by execve in pid 21 +++\n",
    ],
)
def test_a_thread_killed_on_its_way_into_a_call_has_made_none(text: bytes) -> None:
    """strace cannot ask any more which call it was, and then names it although it may not be traced."""
    if b"superseded" in text:
        text = b'21 1.0 execve("/bin/true", ["true"], 0x7f /* 1 var */ <unfinished ...>\n' + text
    found = items(text)
    lines = [line for line in text.splitlines() if b"???" in line]
    assert [item.kind for item in found if isinstance(item, Note) and item.kind == "nameless"] == ["nameless"] * len(
        lines
    )
    assert not [item for item in found if isinstance(item, Unparsed)]


def test_a_thread_that_executes_kills_its_process_first_on_the_way_into_a_call() -> None:
    found = items(
        b"23986 1.1 ???( <unfinished ...>\n"
        b'24027 1.2 execve("/bin/echo", ["echo"], 0x7f /* 42 vars */ <pid changed to 23986 ...>\n'
    )
    assert found[0] == Note(1, 23986, 1.1, "nameless", "")


@pytest.mark.parametrize(
    "text",
    [
        b"20 1.1 ???( <unfinished ...>\n20 1.2 setsid() = 2\n",
        b"20 1.1 ???( <unfinished ...>\n20 1.2 kill(7, 0 <unfinished ...>\n",
        b"20 1.1 ???( <unfinished ...>\n20 1.2 <... ??? resumed>) = 0\n",
        b"20 1.1 ???( <unfinished ...>\n20 1.2 <... ??? resumed>) = ? <unavailable>\n",
        b"20 1.1 ???( <unfinished ...>\n20 1.2 <... kill resumed>) = ?\n",
        b"20 1.1 ???( <unfinished ...>\n",
        b"20 1.1 ???() = 3\n",
    ],
)
def test_a_call_without_a_name_of_a_thread_that_lives_on_is_lost(text: bytes) -> None:
    assert Unparsed(1) in items(text)


def test_a_new_call_of_the_same_thread_shows_that_the_one_before_was_lost() -> None:
    found = items(b"20 1.1 kill(7, 0 <unfinished ...>\n20 1.2 setsid() = 2\n")
    assert [(item.line, isinstance(item, Call) and item.unfinished) for item in found] == [(1, True), (2, False)]


def test_a_thread_that_executes_takes_its_process_pid() -> None:
    found = items(
        b'24027 1.1 execve("/bin/echo", ["echo"], 0x7f /* 42 vars */ <pid changed to 23986 ...>\n'
        b"23986 1.2 +++ superseded by execve in pid 24027 +++\n"
        b"23986 1.3 <... execve resumed>) = -1 (errno 18446744073709551359)\n"
    )
    note, call = found
    assert note == Note(2, 23986, 1.2, "superseded", "24027")
    assert isinstance(call, Call)
    assert (call.pid, call.result, call.errno, call.line, call.end) == (23986, 0, "", 1, 3)


def test_a_thread_that_executes_while_others_act() -> None:
    """Seen on a busy machine: strace then does not say that the pid changed, only who took whose place."""
    found = items(
        b"23986 1.1 wait4(-1,  <unfinished ...>\n"
        b'24027 1.2 execve("/bin/echo", ["echo"], 0x7f /* 42 vars */ <unfinished ...>\n'
        b'24030 1.3 execve("/bin/cat", ["cat"], 0x7f /* 42 vars */ <unfinished ...>\n'
        b"23986 1.4 +++ superseded by execve in pid 24027 +++\n"
        b"23987 1.5 +++ superseded by execve in pid 24030 +++\n"
        b"23987 1.6 <... execve resumed>) = 0\n"
        b"23986 1.7 <... execve resumed>) = -1 (errno 18446744073709551359)\n"
    )
    calls = [item for item in found if isinstance(item, Call)]
    assert [(call.name, call.pid, call.result, call.line, call.end) for call in calls] == [
        ("wait4", 23986, None, 1, 0),
        ("execve", 23987, 0, 3, 6),
        ("execve", 23986, 0, 2, 7),
    ]
    assert [item.line for item in found if isinstance(item, Note)] == [4, 5]


def test_a_remark_about_unknown_threads_changes_nothing() -> None:
    lines = (
        b"20 1.1 kill(7, 0 <unfinished ...>\n"
        b"20 1.2 +++ superseded by execve in pid %s +++\n"
        b"20 1.3 <... kill resumed>) = 0\n"
    )
    for thread in (b"9", b"20"):
        note, call = items(lines % thread)
        assert (note.line, call.line) == (2, 1)


def test_signals_exits_and_remarks() -> None:
    found = items(
        b"20 1.1 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8} ---\n"
        b"20 1.2 --- stopped by SIGSTOP ---\n"
        b"20 1.3 [ Process PID=20 runs in 32 bit mode. ]\n"
        b"20 1.4 +++ exited with 127 +++\n"
    )
    assert found == [
        Signal(1, 20, 1.1, "SIGCHLD", b"{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8}"),
        Note(2, 20, 1.2, "stopped", "stopped by SIGSTOP"),
        Note(3, 20, 1.3, "abi", "Process PID=20 runs in 32 bit mode."),
        Exit(4, 20, 1.4, 127, ""),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"20 1.1",
        b'20 1.1 openat(AT_FDCWD</a>, "b',
        b'20 1.1 openat(AT_FDCWD</a>, "b", O_RDONLY',
        b"20 1.1 openat(3</a, O_RDONLY) = 3",
        b"x 1.1 setsid() = 2",
        b"20 1.1 setsid() = two",
        b"20 1.1 setsid() = -0x2",  # Found by fuzzing: no number, in no base.
        b"20 1.1 <... read resumed>) = 3",
        b"20 1.1 +++ exited with a bang +++",
        b"99999999999999999999 1.1 setsid() = 2",
    ],
)
def test_what_is_not_understood_is_counted_with_its_line(line: bytes) -> None:
    assert items(b"\n20 1.0 setsid() = 2\n" + line + b"\n20 1.2 setsid() = 2\n")[1] == Unparsed(3)


def test_a_join_that_makes_no_sense_loses_both_lines() -> None:
    found = items(b"20 1.1 kill(7, 0 <unfinished ...>\n20 1.2 <... kill resumed> nonsense\n")
    assert found == [Unparsed(1), Unparsed(2)]


def test_no_possessive_group_meets_a_fault_of_older_pythons() -> None:
    patterns = [
        it.pattern for module in (grammar, values) for it in vars(module).values() if isinstance(it, re.Pattern)
    ]
    ends = [end for pattern in patterns for end in re.findall(rb"(.{5})(?<!\\)\)[*+?]\+", pattern, re.DOTALL)]
    assert ends
    assert set(ends) == {grammar.LAST}
