"""The report at a terminal: the verdict first, whole lines in a pipe, folded ones at 80 columns, nothing obeyed."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from collector.manifest import Coverage, LimitHit
from collector.resources import CurvePoint, ResourceReport
from sandbox.terminal import render_report
from sandbox.terminal.page import harmless
from tests.collector.bundles import AWS_VALUE, make_manifest, make_package, make_phases
from tests.collector.reports import make_events, make_finding, make_report

if TYPE_CHECKING:
    from collector.report import Report

BUNDLE = Path("/srv/runs/thing-1.0")
HOSTILE = (
    "\x00\x07\b\r\n\x1b[31m\x1b]0;title\x07\x7f\x9b2J\u202eevil\u2066\u200b\ufeff\U000e0041"
    "[red]x[/red][link=h]:smile: z\u0335\u0336"
)
EVIL = json.dumps(HOSTILE)

SENT = f'body=k={AWS_VALUE} ip=192.0.2.1 bait=["aws-secret-access-key/plain"]'
BUSY = (
    'install installer 10 process.exec image=/usr/bin/python argv=["python","pip"] parent=2',
    "install installer 10 http.request method=GET host=files.example target=/a.whl role=registry",
    "install target 11 process.start parent=10",
    'install target 11 process.exec image=/bin/sh argv=["sh","-c","curl c.test"] parent=10',
    "install target 12 process.start parent=11",
    'install target 12 process.exec image=/usr/bin/curl argv=["curl","c.test"] parent=11',
    f"install target 12 http.request method=POST host=c.test target=/x port=443 tls=true size=9 {SENT}",
    "install target 12 tls.hello ip=192.0.2.1 sni=c.test",
    "install target 12 process.exit code=7",
    "import target 20 process.exec image=/usr/bin/python",
    *(f"import target {pid} process.start parent=20" for pid in range(30, 40)),
    "import target 30 dns.query name=beacon.test",
    "import target 31 dns.query name=beacon.test",
    "import target 31 tls.hello ip=192.0.2.7 port=8443 sni=pinned.test completed=false",
    "import target 31 network.unix path=/var/run/nscd/socket errno=ENOENT",
)


def shown(report: Report, *, terminal: bool = False, width: int = 80, colour: bool = False) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=terminal, color_system="truecolor" if colour else None)
    render_report(report, console, bundle=BUNDLE)
    return output.getvalue()


def busy_report() -> Report:
    events = make_events(*BUSY)
    finding = make_finding("critical", "A planted secret left", evidence=(events[6],), why="Nobody else knows it.")
    return make_report(*BUSY, findings=[finding])


def hostile_report() -> Report:
    lines = (
        f"import target 1 process.exec image={EVIL} argv={json.dumps([HOSTILE, HOSTILE])}",
        f"import target 1 dns.query name={EVIL}",
        f"import target 1 http.request method={EVIL} host={EVIL} target={EVIL} body={EVIL} role={EVIL}",
        f"import target 1 tls.hello ip=192.0.2.1 sni={EVIL}",
        f"import target 1 network.payload ip=192.0.2.2 payload={EVIL}",
        f"import target 1 network.unix path={EVIL}",
    )
    (usual,) = (phase for phase in make_phases() if phase.name == "import")
    coverage = Coverage(unit=HOSTILE, planned=2, reached=1)
    hit = LimitHit(name="cpu", limit=1, seen=2, unit="seconds", what=HOSTILE)
    phase = msgspec.structs.replace(usual, reason=HOSTILE, limits=(hit,), coverage=coverage)
    finding = make_finding("high", HOSTILE, actor=HOSTILE, why=HOSTILE, evidence=make_events(*lines))
    manifest = make_manifest(make_phases(import_=phase), package=make_package(HOSTILE))
    return make_report(*lines, findings=[finding], manifest=manifest)


def test_a_busy_report_in_a_pipe() -> None:
    expected = Path(__file__).with_name("busy_report.txt")
    assert shown(busy_report()) == expected.read_text(), f"if the new form is better, write it to {expected}"


def test_a_clean_report_is_short() -> None:
    report = make_report(*BUSY[:2], *(f"import target {pid} process.exec image=/bin/x{pid}" for pid in range(30, 90)))
    text = shown(report)
    assert " CLEAN\n" in text
    assert "  nothing else was tried\n" in text
    assert "more of 61 processes" in text
    assert len(text.splitlines()) < 45


def test_hints_for_the_next_run() -> None:
    lines = [
        f"import target {pid} process.exec image=/usr/bin/tool{pid} parent=1 errno=ENOENT" for pid in range(30, 42)
    ]
    text = shown(make_report(*lines, "import target 5 file.read path=/home/dev/.env errno=ENOENT"))
    assert "\nHints for the next run\n  programs that it wanted and did not find:\n" in text
    assert "    tool30  (import by target)  # traces/import.strace.zst:1\n" in text
    assert "    and 2 more\n" in text
    assert "    /home/dev/.env  (import by target)  # traces/import.strace.zst:13\n" in text
    assert "\n  no shipped profile has what was missing\n" in text
    assert "Hints" not in shown(make_report())


def test_nothing_tried_is_said() -> None:
    text = shown(make_report())
    assert "\nNetwork\n  nothing was tried\n" in text
    assert "\nProcesses\n  none was seen\n" in text


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [20, 80, 200])
def test_no_string_drives_the_terminal(*, terminal: bool, width: int) -> None:
    text = shown(hostile_report(), terminal=terminal, width=width)
    assert not [char for char in text if (char < " " and char != "\n") or "\x7f" <= char <= "\x9f"]
    assert not set(text) & set("\u202e\u2066\u200b\ufeff\U000e0041\u0335")
    if width == 200:
        assert "[red]x[/red][link=h]:smile:" in text
        assert "\\x1b[31m" in text
        assert "\\u202eevil" in text


def test_colours_are_ours_alone() -> None:
    text = shown(hostile_report(), terminal=True, colour=True)
    assert re.search(r"\x1b\[[0-9;]*m", text)
    assert "\x1b" not in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b" not in shown(busy_report())


@pytest.mark.parametrize("report", [busy_report(), hostile_report()], ids=["busy", "hostile"])
def test_a_terminal_of_80_columns(report: Report) -> None:
    assert max(map(len, shown(report, terminal=True).splitlines())) <= 80


def test_a_long_event_is_cut_and_said() -> None:
    evidence = make_events(f"import target 1 file.read path=/{'a' * 1500}")
    text = shown(make_report(findings=[make_finding("high", evidence=evidence)]))
    assert re.search(r"a… \(\+7\d\d characters\)  # traces/import.strace.zst:1\n", text)


def test_a_pipe_gets_whole_lines() -> None:
    evidence = make_events(f"import target 1 file.read path=/{'a' * 500}")
    text = shown(make_report(findings=[make_finding("high", evidence=evidence)]))
    assert f"path=/{'a' * 500}  # traces/import.strace.zst:1\n" in text


def test_an_output_that_is_not_unicode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    render_report(hostile_report(), Console(file=stream, width=80), bundle=BUNDLE)
    render_report(busy_report(), Console(file=stream, width=80), bundle=BUNDLE)
    stream.flush()
    assert b"`- 12 curl c.test" in raw.getvalue()


def test_the_same_report_looks_the_same() -> None:
    assert shown(busy_report(), terminal=True, colour=True) == shown(busy_report(), terminal=True, colour=True)


def test_a_wide_tree_keeps_its_first_generations() -> None:
    lines = ["import target 1 process.exec image=/root"]
    for pid in range(100, 1000, 10):
        lines += [f"import target {pid} process.start parent=1", f"import target {pid} process.exec image=/child{pid}"]
        lines += [f"import target {pid + 1} process.start parent={pid}"]
        lines += [f"import target {pid + 1} process.exec image=/grandchild{pid}"]
    text = shown(make_report(*lines, findings=[make_finding("high")]))
    assert text.count("/child") == 79
    assert text.count("/grandchild") == 0
    assert "  and 101 more of 181 processes\n" in text


def test_many_rows_end_with_a_count() -> None:
    lines = [f"import target 1 dns.query name=n{number}.test" for number in range(100)]
    text = shown(make_report(*lines))
    assert text.count(".test A") == 40
    assert "  and 60 more rows in the JSON report\n" in text


def _with_resources(*sizes: int) -> Report:
    report = make_report()
    points = tuple(
        CurvePoint(seconds=number / 10, rss_bytes=size << 20, processes=1, cpu_seconds=0.0)
        for number, size in enumerate(sizes, 1)
    )
    used = ResourceReport(
        samples=len(sizes),
        peak_rss_bytes=max(sizes) << 20,
        peak_processes=3,
        cpu_seconds=1.25,
        read_bytes=0,
        written_bytes=0,
        curve=points,
    )
    install, *others = (phase for phase in report.phases if phase.name != "dependencies")
    small = msgspec.structs.replace(used, peak_rss_bytes=1 << 20, peak_processes=1, curve=points[:1])
    phases = [msgspec.structs.replace(install, resources=used)]
    phases += [msgspec.structs.replace(phase, resources=small if phase.name == "import" else None) for phase in others]
    return msgspec.structs.replace(report, phases=tuple(phases))


def test_resources_are_one_line_a_phase() -> None:
    section = shown(_with_resources(1, 100, 200, 399, 400)).partition("Resources\n")[2].partition("\n\n")[0]
    assert section.splitlines() == [
        "  install  400 MiB memory  1.2 s processor  3 processes  ▁▃▅██",
        "  import   1 MiB memory    1.2 s processor  1 process    ▁",
    ]
    assert "Resources" not in shown(make_report()), "nothing was measured"


def test_a_phase_without_a_process_in_its_samples_was_not_measured() -> None:
    report = _with_resources(1, 100)
    nothing = [
        msgspec.structs.replace(
            phase, resources=msgspec.structs.replace(phase.resources, peak_rss_bytes=0, peak_processes=0)
        )
        if phase.name == "import" and phase.resources
        else phase
        for phase in report.phases
    ]
    section = shown(msgspec.structs.replace(report, phases=tuple(nothing))).partition("Resources\n")[2]
    assert "  import   not measured\n" in section
    assert "0 bytes" not in section.partition("\n\n")[0]


def test_a_long_curve_keeps_its_peaks_in_few_characters() -> None:
    sizes = [1] * 60
    sizes[37] = 400
    line = next(line for line in shown(_with_resources(*sizes)).splitlines() if "400 MiB" in line)
    assert line.split()[-1] == "▁" * 8 + "█" + "▁" * 5


def test_a_curve_where_nothing_but_ascii_can_be_shown() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    render_report(_with_resources(1, 200, 400), Console(file=stream, width=80))
    stream.flush()
    line = next(line for line in raw.getvalue().decode("ascii").splitlines() if "400 MiB" in line)
    assert line.split()[-1] == "_+@"


def test_limits_that_were_met_stand_at_their_phase() -> None:
    (usual,) = (phase for phase in make_phases() if phase.name == "import")
    cut = LimitHit(name="output", what="stdout", limit=1024, seen=4096, lost=3072, unit="bytes")
    full = LimitHit(name="disk", limit=1 << 20, seen=1 << 20, unit="bytes")
    ended = LimitHit(name="cpu", limit=600, seen=600, unit="seconds", ended=True)
    reason = "ended at a limit: processor time 600 s of at most 600 s"
    changed = msgspec.structs.replace(
        usual, status="killed", reason=reason, output_truncated=True, limits=(cut, full, ended)
    )
    text = shown(make_report(manifest=make_manifest(make_phases(import_=changed))))
    (line,) = (line for line in text.splitlines() if line.startswith("  import"))
    assert line.endswith(
        f"  {reason}; limit met: the pod's disk 1 MiB of at most 1 MiB; "
        "limit met: output (stdout) 4 KiB, of which the first 1 KiB are kept"
    )


def test_harmless() -> None:
    assert harmless("plain Ω → x") == "plain Ω → x"
    assert harmless("a\tb\r\n\x1b\x85\u2028\ud800e\u0301") == "a\\tb\\r\\n\\x1b\\x85\\u2028\\ud800e\\u0301"
    assert harmless("Ω", ascii_only=True) == "\\u03a9"


@given(text=st.text(), ascii_only=st.booleans())
def test_harmless_whatever_comes(text: str, *, ascii_only: bool) -> None:
    result = harmless(text, ascii_only=ascii_only)
    assert result.isprintable()
    assert result.isascii() or not ascii_only
    assert harmless(result, ascii_only=ascii_only) == result


@pytest.mark.parametrize(("runtime", "told"), [("", "pod bubblewrap"), ("runsc", "pod docker with runsc")])
def test_the_pod_is_told_at_the_top(runtime: str, told: str) -> None:
    manifest = make_manifest()
    pod = "docker" if runtime else "bubblewrap"
    isolation = msgspec.structs.replace(manifest.isolation, pod=pod, runtime=runtime)
    report = make_report(manifest=msgspec.structs.replace(manifest, isolation=isolation))
    assert shown(report, width=200).splitlines()[1].endswith(f"  profile pypi  {told}")
