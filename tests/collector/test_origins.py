"""Whence what was executed came: also told in time when processes stand in a line of thousands."""

from __future__ import annotations

from collector.origins import Origins
from collector.sigma.examples import processes_told
from tests.collector.sigma.sigmas import told

LINE = range(1000, 16_000)


def test_what_a_long_line_of_processes_fetched_is_known_at_its_top() -> None:
    events = told(
        *(f"import target {number + 1} process.start parent={number}" for number in LINE),
        *(f"import target {number} network.connect ip=203.0.113.5 port=443" for number in LINE[1:]),
        f"import target {LINE[0]} file.write path=/tmp/x created=true",
        f'import target {LINE[0]} process.exec image=/tmp/x argv=["x"] origin=written',
    )
    origins = Origins(processes_told(events), lambda _pid, _ts: "target")
    last = [origins.explained(event) for event in events][-1]
    assert getattr(last, "origin", "") == "downloaded"
