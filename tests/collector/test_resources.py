"""The samples of a run: peaks, a curve of at most sixty points, and nothing that a hostile file could do."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.bundle import Bundle
from collector.events import ResourceSample, Source
from collector.resources import POINTS, Resources, Sample, read_samples
from collector.timeline import build
from tests.collector.bundles import START, compressed, make_phases, write_bundle

PHASES = make_phases()
BEGUN = {phase.name: phase.started for phase in PHASES}


def sample(seconds: float, phase: str = "install", **fields: Any) -> Sample:
    usual = {"ts": BEGUN[phase] + seconds, "phase": phase, "processes": 1, "cpu_seconds": 0.0, "rss_bytes": 0}
    return msgspec.convert({**usual, **fields}, Sample)


def read(*samples: Sample) -> Resources:
    return read_samples(map(msgspec.json.encode, samples), PHASES)


def test_peaks_are_each_their_own_and_totals_are_the_last_word() -> None:
    found = read(
        sample(1, rss_bytes=500, processes=2, cpu_seconds=0.5, read_bytes=10),
        sample(2, rss_bytes=100, processes=9, cpu_seconds=1.5, read_bytes=20, written_bytes=7),
        sample(3, "import", rss_bytes=5),
    )
    assert list(found.phases) == ["install", "import"]
    used = found.phases["install"]
    assert (used.samples, used.peak_rss_bytes, used.peak_processes, used.cpu_seconds) == (2, 500, 9, 1.5)
    assert (used.read_bytes, used.written_bytes) == (20, 7)
    assert found.unparsed == 0


def test_a_curve_has_at_most_sixty_points_and_keeps_every_peak() -> None:
    many = [sample(number * 9.5 / 10_000, rss_bytes=number % 7, cpu_seconds=number / 1e4) for number in range(10_000)]
    many[1234] = sample(1234 * 9.5 / 10_000, rss_bytes=999, processes=77)
    used = read(*many).phases["install"]
    assert used.samples == 10_000
    assert len(used.curve) == POINTS
    assert max(point.rss_bytes for point in used.curve) == 999
    assert max(point.processes for point in used.curve) == 77
    assert [point.seconds for point in used.curve] == sorted({point.seconds for point in used.curve})
    assert used.curve[-1].seconds == pytest.approx(9.5)
    assert [point.cpu_seconds for point in used.curve] == sorted(point.cpu_seconds for point in used.curve)


def test_samples_after_the_phase_count_and_are_not_in_its_curve() -> None:
    used = read(sample(1, rss_bytes=1), sample(30, rss_bytes=50, cpu_seconds=3.0)).phases["install"]
    assert (used.peak_rss_bytes, used.cpu_seconds, [point.rss_bytes for point in used.curve]) == (50, 3.0, [1])


def test_a_phase_without_length_has_one_point() -> None:
    phases = make_phases(install=msgspec.structs.replace(PHASES[1], ended=BEGUN["install"]))
    lines = [msgspec.json.encode(sample(0, rss_bytes=number)) for number in range(5)]
    (point,) = read_samples(lines, phases).phases["install"].curve
    assert (point.seconds, point.rss_bytes) == (0.0, 4)


BAD = [
    b"",
    b"{}",
    b"[]",
    b"\xff\xfe",
    b'{"ts": 1e999, "phase": "install", "processes": 1, "cpu_seconds": 0, "rss_bytes": 0}',
    b'{"ts": NaN, "phase": "install", "processes": 1, "cpu_seconds": 0, "rss_bytes": 0}',
    b'{"ts": 1, "phase": "install", "processes": -1, "cpu_seconds": 0, "rss_bytes": 0}',
    b'{"ts": 1, "phase": "install", "processes": 1, "cpu_seconds": 0, "rss_bytes": 99999999999999999999}',
    b'{"ts": 1, "phase": "no such phase", "processes": 1, "cpu_seconds": 0, "rss_bytes": 0}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", BAD, ids=range(len(BAD)))
def test_what_is_no_sample_is_counted(line: bytes) -> None:
    found = read_samples([line, msgspec.json.encode(sample(1))], PHASES)
    assert (found.unparsed, list(found.phases)) == (1, ["install"])


@given(
    samples=st.lists(
        st.builds(
            Sample,
            ts=st.floats(0, 1e11),
            phase=st.sampled_from([*BEGUN, "other"]),
            processes=st.integers(0, 1 << 62),
            cpu_seconds=st.floats(0, 1e11),
            rss_bytes=st.integers(0, 1 << 62),
            read_bytes=st.integers(0, 1 << 62),
            written_bytes=st.integers(0, 1 << 62),
        )
    )
)
def test_any_samples_are_bounded_and_counted(samples: list[Sample]) -> None:
    found = read(*samples)
    assert sum(used.samples for used in found.phases.values()) + found.unparsed == len(samples)
    for used in found.phases.values():
        assert len(used.curve) <= POINTS
        assert all(math.isfinite(point.seconds) and point.rss_bytes <= used.peak_rss_bytes for point in used.curve)
    assert read(*samples) == found


def test_the_points_of_a_curve_are_events_that_name_their_line() -> None:
    samples = [sample(0.05, cpu_seconds=1), sample(0.06, cpu_seconds=1.5), sample(5, cpu_seconds=2, processes=3)]
    first, last = read(*samples).events
    assert (first.source, first.cpu_ms) == (Source("resources.jsonl.zst", 2), 1500)
    assert (last.source, last.cpu_ms, last.processes) == (Source("resources.jsonl.zst", 3), 500, 3)
    assert first.wall_ms + last.wall_ms == round((last.ts - BEGUN["install"]) * 1000)


def test_a_bundle_without_samples_and_one_with(tmp_path: Any) -> None:
    assert build(Bundle.open(write_bundle(tmp_path / "none"))).resources == Resources(phases={})
    lines = compressed(msgspec.json.encode(sample(1, rss_bytes=7)) + b"\nnonsense\n")
    timeline = build(Bundle.open(write_bundle(tmp_path / "some", extra={"resources.jsonl.zst": lines})))
    found = timeline.resources
    assert (found.phases["install"].peak_rss_bytes, found.unparsed) == (7, 1)
    [event] = [event for event in timeline.events if isinstance(event, ResourceSample)]
    assert (event.rss_bytes, event.source) == (7, Source("resources.jsonl.zst", 1))
    assert sample(0).ts > START
