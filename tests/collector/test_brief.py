"""A reading that is told in brief says what the event says, to whoever asks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.allowance import Allowance
from collector.attribution import attribute
from collector.baseline import BASELINE, SCHEMA, Baseline, Shaper, UsualReader
from collector.brief import Brief, Reading, setting_of, whole
from collector.bundle import Bundle
from collector.columns import packed, unpacked
from collector.eventlog import EventLog, merged
from collector.events import FileRead, FileWrite, Source
from collector.findings import match
from collector.hints import HintReader
from collector.live_processes import ProcessTableBuilder
from collector.manifest import FileEntry, Phase
from collector.readers import show
from collector.redact import Redactor
from collector.sigma.readings import Readings
from collector.sigma.view import Context
from collector.syscalls import read_trace
from collector.timeline import build
from tests.collector.sigma.sigmas import shipped
from tests.golden.bless import BUNDLES
from tests.golden.packages import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.brief import Told
    from collector.events import AnyEvent
    from collector.processes import ProcessTable

ARGV = ("/usr/bin/python3", "-c", "pass")
PHASE = Phase(name="import", status="completed", started=100.0, ended=200.0, argv=ARGV, trace="t")
ROOT = b'20    1795347409.000001 execve("/usr/bin/python3", ["/usr/bin/python3", "-c", "pass"], 0x7f00 /* 1 var */) = 0'
SIMPLE = st.sampled_from([b"a", b"b.py", b"mem", b"..", b".", b"", b"self", b"7", b"x y", b"<", b">", b"=", b"fd"])
PATHS = st.builds(
    lambda start, parts: start + b"/".join(parts),
    st.sampled_from([b"/", b"", b"/proc/", b"/proc/self/", b"/usr/lib/", b"./", b"//"]),
    st.lists(SIMPLE, max_size=4),
)
FLAGS = st.sampled_from(
    [
        *(b"O_RDONLY", b"O_RDONLY|O_CLOEXEC", b"O_WRONLY|O_CREAT|O_TRUNC, 0666", b"O_RDWR|O_CREAT|O_CLOEXEC, 0600"),
        *(b"O_RDONLY|O_DIRECTORY", b"O_PATH", b"O_RDWR|O_TMPFILE, 0600", b"O_RDONLY|0x7"),
    ]
)
RESULTS = st.one_of(
    st.builds(
        lambda number, path, ends: b"%d</%s%s" % (number, path.lstrip(b"/"), ends),
        st.integers(3, 5),
        PATHS.filter(lambda path: b"<" not in path and b">" not in path),
        st.sampled_from([b">", b">", b"<char 1:3>>", b">(deleted)"]),
    ),
    st.sampled_from([b"3<pipe:[7]>", b"3<TCP:[7]>", b"3", b"?", b"-1 ENOENT (No such file or directory)"]),
    st.sampled_from(
        [b"-1 EACCES (Permission denied)", b"-1 (errno 512)", b"-1 EPERM (Operation not permitted) (INJECTED)"]
    ),
)


def opens() -> st.SearchStrategy[bytes]:
    text = st.builds(
        lambda cwd, path, flags, result: b'openat(AT_FDCWD<%s>, "%s", %s) = %s' % (cwd, path, flags, result),
        st.sampled_from([b"/", b"/home/dev", b"/home/x y"]),
        PATHS,
        FLAGS,
        RESULTS,
    )
    others = st.sampled_from(
        [
            *(b'unlink("a")', b'chdir("/tmp")', b"fcntl(3</a>, F_GETFD)", b"fcntl(3</a>, F_SETFD, FD_CLOEXEC)"),
            *(b'execve("/bin/a", ["a"], 0x7f /* 0 vars */)', b"fcntl(3</a>, F_SETFD, 0)"),
        ]
    )
    return text | others.map(lambda call: call + b" = 0")


@given(st.lists(st.tuples(opens(), st.booleans()), max_size=8))
@settings(max_examples=400, deadline=None)
def test_the_usual_form_is_read_as_any_other(calls: list[tuple[bytes, bool]]) -> None:
    lines, careful = [ROOT], [ROOT]
    for number, (text, interrupted) in enumerate(calls, 2):
        head = b"20    1795347409.%06d " % number
        name, cut = text[: text.index(b"(")], text.rindex(b") = ")
        # What ends in a carriage return is read by the tokenizer alone, and so are its events.
        careful += [head + text + b"\r", b""]
        lines += (
            [head + text, b""]
            if not interrupted
            else [
                head + text[:cut] + b" <unfinished ...>",
                b"20    1795347409.9 <... %s resumed>%s" % (name, text[cut:]),
            ]
        )
    quick, slow = ProcessTableBuilder(), ProcessTableBuilder()
    one, other = read_trace(PHASE, "t", lines, quick), read_trace(PHASE, "t", careful, slow)
    assert one.events == other.events
    assert (one.counts.unparsed, one.counts.truncated) == (other.counts.unparsed, other.counts.truncated)
    assert one.counts.lines == sum(map(bool, lines))
    for process, same in zip(quick.live.values(), slow.live.values(), strict=True):
        assert (process.cwd, process.descriptors, process.closing) == (same.cwd, same.descriptors, same.closing)


def test_readings_of_the_usual_form_are_told_in_brief() -> None:
    line = b'20    1795347409.000002 openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>'
    trace = read_trace(PHASE, "t", [ROOT, line], ProcessTableBuilder())
    (told,) = [told for batch in trace.order.batches() for told in batch if isinstance(told, Brief)]
    assert told.event() == trace.events[-1]


def test_what_is_packed_comes_back() -> None:
    a, b = setting_of("install", "t", ""), setting_of("install", "t", "ENOENT")
    one, other = Reading("/a", a), Reading("/b", b)
    told: list[Told] = [
        Brief(1.5, 7, 1, one),
        FileWrite(phase="install", path="/w", source=Source("t", 2)),
        Brief(2.5, 8, 3, other, "installer"),
        Brief(3.5, 9_999_999_999, 1 << 40, one, "installer"),
        FileWrite(phase="install", path="/v", source=Source("t", 5)),
    ]
    for some in (told, told[:1], told[1:2], []):
        made = unpacked(packed(some))
        assert list(map(whole, made)) == list(map(whole, some))
        assert [type(event) for event in made] == [type(event) for event in some]
    again = [event.what for event in unpacked(packed(told)) if isinstance(event, Brief)]
    assert again[0] is again[2]
    # What is known of readings is kept by their setting: with another one for each pack it would grow with the run.
    assert {reading.setting for reading in again} == {a, b}


def traced(bundle: Bundle) -> tuple[list[Told], ProcessTable]:
    table = ProcessTableBuilder()
    phases = [phase for phase in bundle.manifest.phases if phase.trace]
    traces = [read_trace(phase, phase.trace, bundle.lines(phase.trace), table) for phase in phases]
    return list(merged([list(trace.order.batches()) for trace in traces])), table.build()


@pytest.mark.parametrize("name", NAMES)
def test_who_read_a_file_does_not_depend_on_how_it_is_told(name: str) -> None:
    bundle = Bundle.open(BUNDLES / name)
    told, processes = traced(bundle)
    assert any(isinstance(event, Brief) for event in told)
    in_brief = attribute(told, processes, bundle.manifest, Allowance())
    assert list(map(whole, in_brief)) == list(attribute(map(whole, told), processes, bundle.manifest, Allowance()))


@pytest.mark.parametrize("name", NAMES)
def test_rules_and_report_do_not_depend_on_how_events_are_told(name: str) -> None:
    bundle = Bundle.open(BUNDLES / name)
    manifest, told = bundle.manifest, build(bundle)
    context = Context(home=manifest.home, user=manifest.user, processes=told.processes)
    every, rules = tuple(told.events), shipped()
    assert match(rules, told.events, context) == match(rules, every, context)
    in_brief, at_length = HintReader(manifest.home), HintReader(manifest.home)
    assert show(told.events, [in_brief]) == show(every, [at_length])
    assert in_brief.hints(Redactor.of(bundle.bait)) == at_length.hints(Redactor.of(bundle.bait))


def kept(told: list[Brief]) -> int:
    """How many readings somebody but the list itself still knows."""
    alone = sys.getrefcount(Reading("/", told[0].what.setting))
    # The event in brief holds one reference.
    return sum(sys.getrefcount(brief.what) - alone > 1 for brief in told)


class Counting:
    """A reader that counts, with the last reading, how many are known."""

    kinds = (FileRead,)

    def __init__(self, told: list[Brief]) -> None:
        self.told = told
        self.known = self.seen = 0

    def see(self, event: AnyEvent) -> None:
        raise AssertionError(event)

    def heeds(self, _actor: str) -> bool:
        return True

    def reading(self, _first: Brief) -> Callable[[Brief], None]:
        return self.take

    def take(self, _brief: Brief) -> None:
        self.seen += 1
        if self.seen == len(self.told):
            self.known = kept(self.told)


def test_what_is_known_of_readings_is_bounded_however_many_errors_and_actors_there_are() -> None:
    told = [
        Brief(1.0, 7, number, Reading(f"/{number}", setting_of("import", "t", errno)), f"dependency:{errno}")
        for errno in (f"E{number}" for number in range(12))
        for number in range(3000)
    ]
    assert kept(told) == 0
    readings = Readings(lambda _: True)
    assert sum(1 for _ in readings.worth_it(told)) == len(told)
    assert 0 < kept(told) < len(told) // 2
    del readings
    reader = Counting(told)
    assert show(EventLog(told), [reader]) == {"file.read": len(told)}
    assert 0 < reader.known < len(told) // 2


@pytest.mark.parametrize("name", NAMES)
def test_what_is_usual_does_not_depend_on_how_events_are_told(name: str) -> None:
    bundle = Bundle.open(BUNDLES / name)
    told, entry = build(bundle).events, FileEntry(sha256="0" * 64, size=1)
    manifest = msgspec.structs.replace(bundle.manifest, files={**bundle.manifest.files, BASELINE: entry})
    shaper = Shaper(manifest)
    # As if an empty package had done every other thing.
    shapes = sorted({shaper.shape(event) for event in told})[::2]
    image = manifest.image.digest
    usual = Baseline(schema=SCHEMA, image=image, pod="bubblewrap", recorded=(), shapes=tuple(shapes))
    in_brief, at_length = UsualReader(usual, manifest), UsualReader(usual, manifest)
    assert show(told, [in_brief]) == show(tuple(told), [at_length])
    assert in_brief.report() == at_length.report()
    assert 0 < in_brief.report().events < in_brief.report().of == len(told)
