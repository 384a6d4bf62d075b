"""Which samples of a phase are kept."""

from __future__ import annotations

import msgspec

from sandbox.pod.interface import Sample
from sandbox.pod.watch import Recorder


def _sample(tenth: int, rss: int) -> Sample:
    seconds = tenth / 10
    return Sample(ts=seconds, phase="p", processes=1, cpu_seconds=seconds, rss_bytes=rss, read_bytes=0, written_bytes=0)


def test_of_an_hour_the_ends_the_peak_and_some_others_are_kept() -> None:
    taken = [_sample(tenth, rss=900 if tenth == 20_000 else 100) for tenth in range(36_000)]
    recorder = Recorder()
    for sample in taken:
        recorder.take(sample)
    kept = recorder.samples()
    assert kept[:100] == tuple(taken[:100]), "what begins is looked at closely"
    assert kept[-1] == taken[-1]
    assert taken[20_000] in kept
    assert 1000 < len(kept) < 2000


def test_each_phase_has_a_curve_of_its_own() -> None:
    recorder = Recorder()
    loud, quiet = _sample(0, 900), msgspec.structs.replace(_sample(1, 100), phase="q")
    recorder.take(loud)
    recorder.take(quiet)
    assert recorder.samples() == (loud, quiet)
