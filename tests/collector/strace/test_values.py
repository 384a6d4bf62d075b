"""The arguments of calls, one oddity at a time."""

from __future__ import annotations

import pytest

from collector.strace import Argument, Descriptor, Group, Text, Value, Word, parse_arguments
from collector.strace.values import AT_FDCWD, MAX_DEPTH, unescape


def values(raw: bytes) -> list[Value]:
    parsed = parse_arguments(raw)
    assert parsed is not None
    return [argument.value for argument in parsed]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'"plain"', Text(b"plain")),
        (b'""', Text(b"")),
        (rb'"say \"a, b\" \\ \n\t\r\v\f"', Text(b'say "a, b" \\ \n\t\r\v\f')),
        (rb'"\303\251\0\0012\x7f"', Text(b"\xc3\xa9\0\x012\x7f")),
        (b'") = 3, <unfinished ...> {["', Text(b") = 3, <unfinished ...> {[")),
        (b'"cut short"...', Text(b"cut short", truncated=True)),
        (rb'@"abs)\377"', Text(b"abs)\xff", abstract=True)),
        (b"O_RDONLY|O_CLOEXEC", Word(b"O_RDONLY|O_CLOEXEC")),
        (b"0x7fff670ba7c0 /* 42 vars */", Word(b"0x7fff670ba7c0 /* 42 vars */")),
        (b"0x7ff /* 4 vars, unterminated */", Word(b"0x7ff /* 4 vars, unterminated */")),
        (b"2 /* 20 in strace's PID NS */", Word(b"2 /* 20 in strace's PID NS */")),
        (b"1<<CAP_CHOWN|0x2", Word(b"1<<CAP_CHOWN|0x2")),
        (b"NULL", Word(b"NULL")),
        (b"AT_FDCWD</home/dev>", Descriptor(AT_FDCWD, b"/home/dev")),
        (rb"3</tmp/a \"b\n\76) = \303\251 \74x\76, {[>", Descriptor(3, b'/tmp/a "b\n>) = \xc3\xa9 <x>, {[')),
        (b"3</tmp/ends-with->", Descriptor(3, b"/tmp/ends-with-")),
        (b"0</dev/null<char 1:3>>", Descriptor(0, b"/dev/null")),
        (b"11</memfd:evil>(deleted)", Descriptor(11, b"/memfd:evil", deleted=True)),
        (b"4<TCP:[127.0.0.1:4->192.0.2.1:99]>", Descriptor(4, b"TCP:[127.0.0.1:4->192.0.2.1:99]")),
        (b"4<TCPv6:[[::1]:5->[::1]:6]>", Descriptor(4, b"TCPv6:[[::1]:5->[::1]:6]")),
        (b"3<pid:24076>", Descriptor(3, b"pid:24076")),
        (b"3<anon_inode:[eventpoll]>", Descriptor(3, b"anon_inode:[eventpoll]")),
        (rb'6<UNIX-STREAM:[35->36, @"a>\"b) = 3"]>', Descriptor(6, rb'UNIX-STREAM:[35->36, @"a>\"b) = 3"]')),
    ],
)
def test_a_single_value(raw: bytes, value: Value) -> None:
    assert values(raw) == [value]


def test_arguments_are_separated_outside_everything_that_quotes() -> None:
    assert values(rb'AT_FDCWD</a, b>, "c, \", d", O_CREAT, 0666') == [
        Descriptor(AT_FDCWD, b"/a, b"),
        Text(b'c, ", d'),
        Word(b"O_CREAT"),
        Word(b"0666"),
    ]


def test_structures_arrays_and_applied_names_nest() -> None:
    (value,) = values(b'{msg_name={sa_family=AF_INET, sin_port=htons(99)}, msg_iov=[{iov_base="a", iov_len=1}]}')
    assert isinstance(value, Group)
    name = value.get("msg_name")
    assert isinstance(name, Group)
    assert name.get("sa_family") == Word(b"AF_INET")
    assert name.get("sin_port") == Group("(", (Argument("", Word(b"99")),), b"htons")
    vector = value.get("msg_iov")
    assert isinstance(vector, Group)
    assert vector.opener == "["
    assert value.get("msg_control") is None


def test_arguments_can_be_named_and_what_the_kernel_wrote_follows_an_arrow() -> None:
    parsed = parse_arguments(b"{flags=CLONE_VM|CLONE_THREAD, exit_signal=0} => {parent_tid=[7]}, 88")
    assert parsed is not None
    assert [argument.name for argument in parsed] == ["", "=>", ""]
    parsed = parse_arguments(b"child_stack=NULL, flags=SIGCHLD")
    assert parsed == (Argument("child_stack", Word(b"NULL")), Argument("flags", Word(b"SIGCHLD")))


def test_a_list_cut_by_strace_ends_in_dots() -> None:
    (value,) = values(b'["sh", "-c", ...]')
    assert isinstance(value, Group)
    assert value.items[-1].value == Word(b"...")


def test_no_arguments_and_those_of_a_call_that_never_finished() -> None:
    assert parse_arguments(b"") == ()
    assert parse_arguments(b"0, ") == (Argument("", Word(b"0")),)


@pytest.mark.parametrize(
    "raw",
    [b'"open', b"{a=1", b"a=1}", b"[1)", b"{a=}", b'"a" "b"', b', "a"', b"3</never", b"x{1}", b"a=b=, 1", b" => 1"],
)
def test_what_is_not_well_formed_is_refused(raw: bytes) -> None:
    assert parse_arguments(raw) is None


def test_nesting_is_bounded() -> None:
    assert parse_arguments(b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH) is not None
    assert parse_arguments(b"[" * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1)) is None


def test_octal_beyond_a_byte_is_kept_to_one() -> None:
    assert unescape(rb"\777") == b"\xff"
