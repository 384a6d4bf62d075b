"""The searches of correlations against naive ones that try everything."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from collector.sigma.correlate import Finder, Match, event_count, temporal, temporal_ordered, value_count

SPAN = 3.0

_matches = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from("xyz")), min_size=1, max_size=9
).map(
    lambda drawn: [
        Match(at, float(sum(wait for wait, _, _ in drawn[: at + 1])), step, (value,))
        for at, (_, step, value) in enumerate(drawn)
    ]
)


def completions(finder: Finder, matches: list[Match]) -> set[int]:
    """Positions of the matches that completed an occurrence; each occurrence is checked to fit its timespan."""
    by_position = {match.position: match for match in matches}
    found = list(finder(matches))
    for positions in found:
        times = [by_position[position].ts for position in positions]
        assert max(times) - min(times) <= SPAN
        assert list(positions) == sorted(set(positions))
    return {positions[-1] for positions in found}


def before(matches: list[Match], last: Match) -> list[Match]:
    return [match for match in matches if match.position <= last.position and last.ts - match.ts <= SPAN]


@given(_matches, st.integers(1, 4))
def test_event_count(matches: list[Match], least: int) -> None:
    naive = {match.position for match in matches if len(before(matches, match)) >= least}
    assert completions(event_count(least, SPAN), matches) == naive


@given(_matches, st.integers(1, 3))
def test_value_count(matches: list[Match], least: int) -> None:
    naive = {match.position for match in matches if len({seen.value for seen in before(matches, match)}) >= least}
    assert completions(value_count(least, SPAN), matches) == naive


@given(_matches)
def test_temporal(matches: list[Match]) -> None:
    naive = {match.position for match in matches if {seen.step for seen in before(matches, match)} == {0, 1, 2}}
    assert completions(temporal(lambda seen: len(seen) == 3, SPAN), matches) == naive


@given(_matches)
def test_temporal_ordered(matches: list[Match]) -> None:
    naive = {
        last.position
        for first, second, last in combinations(matches, 3)
        if (first.step, second.step, last.step) == (0, 1, 2) and last.ts - first.ts <= SPAN
    }
    assert completions(temporal_ordered(3, SPAN), matches) == naive
