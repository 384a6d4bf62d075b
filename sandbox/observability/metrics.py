"""Metrics in the text format of Prometheus, read from the rows: any process of the service answers for all hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from sandbox.database import counters
from sandbox.observability.measures import MEBIBYTES, SECONDS
from sandbox.submissions import lanes, query, workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric
    from sqlalchemy import Engine

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "fumehood_"
_COUNTERS: Final = {
    "attempts_total": ("Attempts at submissions that ended, by how.", ("outcome",)),
    "submissions_ended_total": ("Submissions that ended, by final state and lane.", ("lane", "state")),
    "verdicts_total": ("Results that count, by verdict.", ("verdict",)),
    "phases_total": ("Phases of runs, by how they ended.", ("phase", "status")),
    "traces_incomplete_total": ("Phases that were not seen whole.", ("phase",)),
    "trace_lines_unparsed_total": ("Lines of traces that were not understood.", ("phase",)),
    "limits_hit_total": ("Limits that runs met.", ("limit",)),
    "pod_cpu_seconds_total": ("Processor time of pods.", ("phase",)),
    "leases_lost_total": ("Attempts whose workers were gone.", ()),
    "refused_jobs_total": ("Jobs in Redis that were none of ours.", ("lane",)),
    "orphan_pods_total": ("Containers that killed runs left.", ()),
}
_HISTOGRAMS: Final = {
    "phase_seconds": ("Wall-clock time of phases.", SECONDS),
    "pod_memory_mebibytes": ("Greatest resident memory of phases.", MEBIBYTES),
}


def exposition(engine: Engine, now: float) -> bytes:
    """Everything, as Prometheus reads it.

    Args:
        engine: The database.
        now: UTC seconds since the epoch.

    Raises:
        DBAPIError: The database does not answer; a scrape that fails is an alert of its own.
    """
    registry = CollectorRegistry()
    registry.register(_Rows(engine, now))
    return generate_latest(registry)


class _Rows:
    """Collects from the rows."""

    def __init__(self, engine: Engine, now: float) -> None:
        self._engine = engine
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """All families of metrics, also those that nothing was counted of yet."""
        with self._engine.connect() as connection:
            counted = counters.read(connection)
        for name, (told, labels) in _COUNTERS.items():
            yield _counter(name, told, labels, counted.get(name, {}))
        for name, (told, bounds) in _HISTOGRAMS.items():
            yield _histogram(name, told, bounds, counted)
        yield from self._lanes()
        yield from self._workers()

    def _lanes(self) -> Iterator[Metric]:
        depths, paused = query.depths(self._engine), lanes.paused(self._engine)
        waiting = _gauge("queue_depth", "Submissions that wait or run, by lane.", ("lane", "state"))
        oldest = _gauge("queue_oldest_seconds", "How long the oldest waits in a lane; 0 when none does.", ("lane",))
        closed = _gauge("lane_paused", "1 for a lane from which nothing is begun.", ("lane",))
        for lane, depth in depths.items():
            waiting.add_metric((lane, "queued"), depth.queued)
            waiting.add_metric((lane, "running"), depth.running)
            oldest.add_metric((lane,), 0 if depth.oldest is None else max(0.0, self._now - depth.oldest))
            closed.add_metric((lane,), float(lane in paused))
        yield from (waiting, oldest, closed)

    def _workers(self) -> Iterator[Metric]:
        alive = [row for row in workers.listed(self._engine) if self._now - row.seen < workers.GONE_S]
        many = _gauge("workers", "Workers that were seen lately.", ())
        many.add_metric((), len(alive))
        slots = _gauge("slots", "Runs that they take at one time; those that drain take none.", ())
        slots.add_metric((), sum(row.slots for row in alive if not row.draining))
        yield from (many, slots)


def _gauge(name: str, told: str, labels: Iterable[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}{name}", told, labels=list(labels))


def _counter(
    name: str, told: str, labels: tuple[str, ...], counted: Mapping[tuple[tuple[str, str], ...], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{_PREFIX}{name}", told, labels=list(labels))
    if not labels:
        family.add_metric((), counted.get((), 0.0))
        return family
    for pairs, value in sorted(counted.items()):
        family.add_metric([dict(pairs).get(label, "") for label in labels], value)
    return family


def _histogram(
    name: str,
    told: str,
    bounds: tuple[float, ...],
    counted: Mapping[str, Mapping[tuple[tuple[str, str], ...], float]],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"{_PREFIX}{name}", told, labels=["phase"])
    classes: dict[str, dict[str, float]] = {}
    for pairs, value in counted.get(f"{name}_bucket", {}).items():
        labels = dict(pairs)
        classes.setdefault(labels["phase"], {})[labels["le"]] = value
    sums = {dict(pairs)["phase"]: value for pairs, value in counted.get(f"{name}_sum", {}).items()}
    for phase, counts in sorted(classes.items()):
        so_far, buckets = 0.0, []
        for bound in (*map(str, bounds), "+Inf"):
            so_far += counts.get(bound, 0.0)
            buckets.append((bound, so_far))
        family.add_metric([phase], buckets, sums.get(phase, 0.0))
    return family
