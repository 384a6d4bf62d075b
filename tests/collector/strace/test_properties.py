"""What must hold for every trace, whatever a package makes strace write."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collector.strace import Call, Descriptor, Group, Item, Text, Unparsed, parse

FRAGMENTS = st.sampled_from(
    [
        b"20 1.5 ",
        b"21 1.5 ",
        b"openat(",
        b"kill(",
        b'"a\\"',
        b'"',
        b"AT_FDCWD</tmp>",
        b"3<TCP:[1->2]>",
        b"<",
        b">",
        b", ",
        b"{a=[1, ",
        b"}",
        b"]",
        b")",
        b") = 3",
        b" = ?",
        b" <unfinished ...>",
        b"<... kill resumed>",
        b"<... openat resumed>",
        b"<pid changed to 21 ...>",
        b"+++ exited with 1 +++",
        b"+++ superseded by execve in pid 20 +++",
        b"--- SIGCHLD {} ---",
        b"\\",
        b"...",
        b" => ",
        b"/* ",
        b" */",
        b"-1 ENOENT (No)",
        b"\n",
        b"\n",
        b"\xff",
    ]
)
NASTY = st.lists(FRAGMENTS, max_size=40).map(b"".join) | st.binary(max_size=200)


def accounted(found: list[Item]) -> list[int]:
    lines: list[int] = []
    for item in found:
        lines.append(item.line)
        if isinstance(item, Call) and item.end not in {0, item.line}:
            lines.append(item.end)
    return sorted(lines)


@given(NASTY)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_and_every_line_is_accounted_for(text: bytes) -> None:
    lines = text.split(b"\n")
    found = list(parse(lines))
    assert accounted(found) == [number for number, line in enumerate(lines, 1) if line.rstrip(b"\r")]
    for item in found:
        if isinstance(item, Call):
            item.arguments()
            item.descriptor()


def quoted(raw: bytes, *, also: bytes = b"") -> bytes:
    """Like strace's `print_quoted_string`: shortest octal unless a digit follows."""
    named = {0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x09: b"\\t", 0x0D: b"\\r", 0x0B: b"\\v", 0x0C: b"\\f"}
    out = bytearray()
    for position, byte in enumerate(raw):
        if byte in named:
            out += named[byte]
        elif 0x20 <= byte < 0x7F and byte not in also:
            out.append(byte)
        else:
            digit_follows = raw[position + 1 : position + 2].isdigit()
            out += b"\\%03o" % byte if digit_follows else b"\\%o" % byte
    return bytes(out)


TRICKY = st.lists(
    st.sampled_from([b'"', b"\\", b"\n", b">", b"<", b") = 3", b", ", b"->", b"/", b"7", b"\0", b"{", b"]", b"..."])
    | st.binary(min_size=1, max_size=3),
    max_size=12,
).map(b"".join)


@given(path=TRICKY, directory=TRICKY, resolved=TRICKY, argument=TRICKY, cut=st.booleans(), broken=st.booleans())
@settings(max_examples=400, deadline=None)
def test_what_strace_renders_comes_back(  # noqa: PLR0913 - one value for each place that a package controls
    *, path: bytes, directory: bytes, resolved: bytes, argument: bytes, cut: bool, broken: bool
) -> None:
    dots = b"..." if cut else b""
    start = b'20    1795347409.5 openat(3</%s>, "%s"%s' % (quoted(directory, also=b"<>"), quoted(path), dots)
    middle = b', ["%s"], O_RDONLY' % quoted(argument)
    end = b") = 4</%s>\n" % quoted(resolved, also=b"<>")
    if broken:
        lines = [start + b" <unfinished ...>\n", b"20 1795347409.6 <... openat resumed>" + middle + end]
    else:
        lines = [start + middle + end]
    (call,) = parse(lines)
    assert isinstance(call, Call)
    assert call.descriptor() == Descriptor(4, b"/" + resolved)
    arguments = call.arguments()
    assert arguments is not None
    base, text, group, _ = (item.value for item in arguments)
    assert base == Descriptor(3, b"/" + directory)
    assert text == Text(path, truncated=cut)
    assert isinstance(group, Group)
    assert group.items[0].value == Text(argument)


@given(st.integers(1, 5).flatmap(lambda count: st.permutations(range(20, 20 + count))))
@settings(max_examples=50, deadline=None)
def test_any_interleaving_joins_to_the_same_calls(order: list[int]) -> None:
    begun = [b"%d 1.1 kill(%d, 0 <unfinished ...>\n" % (pid, pid + 100) for pid in sorted(order)]
    ended = [b"%d 1.2 <... kill resumed>) = %d\n" % (pid, pid) for pid in order]
    found = list(parse(begun + ended))
    assert not [item for item in found if isinstance(item, Unparsed)]
    assert [(item.pid, item.result) for item in found if isinstance(item, Call)] == [(pid, pid) for pid in order]
