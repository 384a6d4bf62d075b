"""Makes the rows of runs again from the evidence alone: it is the truth, and they are a cache of it."""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import insert, select, update

from collector.analyse import analyse
from collector.errors import BundleError
from collector.sigma.load import load_rules
from collector.store.rows import RunRows, rows
from collector.store.schema import REBUILDS
from collector.store.stored import plain
from collector.suppressions import NONE, load_suppressions
from sandbox.database import writing
from sandbox.errors import EvidenceDamagedError, EvidenceMissingError, SandboxError
from sandbox.evidence import Seal, open_evidence
from sandbox.resources import rules_directory
from sandbox.store.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Engine

    from collector.sigma.rule import RuleSet
    from collector.suppressions import Suppressions

_BATCH: Final = 32
"""Bundles for each process between two commits."""
_FAILURES: Final = 1_000
"""Bad bundles that are told by name."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to rebuild from."""

    evidence: str
    """The place of the evidence store."""
    rules: Path | None = None
    """Directory of rules; `None` for the shipped ones."""
    suppressions: Path | None = None
    """File of findings that do not count."""
    jobs: int = 1
    """Processes."""
    restart: bool = False
    """Begin anew even if an earlier rebuild did not come to its end."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that could not be read; the rows of its run are as they were."""

    run: str
    reason: str


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """How far a rebuild came."""

    id: int
    position: str
    """The last run whose bundle was read."""
    done: int
    """Runs whose rows were written."""
    bad: int
    failures: tuple[Failure, ...]
    """The first bad bundles."""


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    run: str
    seal: Seal
    rows: RunRows


def rebuild(engine: Engine, plan: Plan, now: float, progress: Callable[[Rebuild, int], None]) -> Rebuild:
    """Write the rows of every run whose evidence is stored, in place of those that it had.

    Bundles are read in order of run, and each batch is committed with the place that was reached, so that a rebuild
    that was interrupted goes on there, provided that rules and suppressions are the same. Labels, the rows of runs
    whose evidence was removed, and those of bad bundles stay.

    Args:
        engine: The database.
        plan: What to rebuild from.
        now: UTC seconds since the epoch.
        progress: Told what was reached, and how many bundles there are in all, after each batch.

    Raises:
        EvidenceError: The store does not work; what was reached is kept.
    """
    rules, suppressions = _loaded(plan.rules, plan.suppressions)
    state = _begun(engine, rules, suppressions, now, restart=plan.restart)
    waiting = list(open_evidence(plan.evidence).runs(after=state.position))
    total = state.done + state.bad + len(waiting)
    progress(state, total)
    with _mapper(plan.jobs) as mapper:
        for batch in _batches(waiting, _BATCH * plan.jobs):
            read = list(mapper(partial(_read, plan), batch))
            state = _commit(engine, state, batch[-1], [one for one in read if one is not None])
            progress(state, total)
    with writing(engine) as connection:
        connection.execute(update(REBUILDS).where(REBUILDS.c.id == state.id).values(ended=now))
    return state


def _begun(engine: Engine, rules: RuleSet, suppressions: Suppressions, now: float, *, restart: bool) -> Rebuild:
    by = {"rules_sha256": rules.digest, "suppressions_sha256": suppressions.digest}
    columns = [REBUILDS.c[name] for name in Rebuild.__struct_fields__]
    same = [REBUILDS.c[name] == value for name, value in by.items()]
    query = select(*columns).where(REBUILDS.c.ended.is_(None), *same).order_by(REBUILDS.c.id.desc()).limit(1)
    with writing(engine) as connection:
        earlier = connection.execute(query).mappings().first()
        if earlier and not restart:
            return msgspec.convert(plain(earlier), Rebuild)
        new: dict[str, object] = {"started": now, "ended": None, "position": "", "done": 0, "bad": 0, "failures": []}
        identifier = connection.execute(insert(REBUILDS).returning(REBUILDS.c.id), by | new).scalar_one()
    return Rebuild(id=identifier, position="", done=0, bad=0, failures=())


def _commit(engine: Engine, state: Rebuild, position: str, read: Sequence[_Read | Failure]) -> Rebuild:
    failures = [one for one in read if isinstance(one, Failure)]
    state = msgspec.structs.replace(
        state,
        position=position,
        done=state.done + len(read) - len(failures),
        bad=state.bad + len(failures),
        failures=(*state.failures, *failures)[:_FAILURES],
    )
    reached = {name: value for name, value in msgspec.to_builtins(state).items() if name != "id"}
    with writing(engine) as connection:
        for one in read:
            if isinstance(one, _Read):
                record(connection, one.rows, one.seal)
        connection.execute(update(REBUILDS).where(REBUILDS.c.id == state.id).values(**reached))
    return state


def _read(plan: Plan, run: str) -> _Read | Failure | None:
    """Explain a stored bundle; `None` when it was removed meanwhile."""
    evidence = open_evidence(plan.evidence)
    try:
        with evidence.open(run) as bundle:
            report = analyse(bundle, *_loaded(plan.rules, plan.suppressions))
            return _Read(run=run, seal=evidence.seal(run), rows=rows(report))
    except EvidenceMissingError:
        return None
    except (BundleError, EvidenceDamagedError) as error:
        return Failure(run=run, reason=str(error))


@cache
def _loaded(rules: Path | None, suppressions: Path | None) -> tuple[RuleSet, Suppressions]:
    """Once a process."""
    return load_rules(rules or rules_directory()), load_suppressions(suppressions) if suppressions else NONE


@contextmanager
def _mapper(jobs: int) -> Iterator[Callable[..., Iterable[_Read | Failure | None]]]:
    if jobs == 1:
        yield map
        return
    # Ctrl-C is for the first process; it ends the others.
    ignoring = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=ignoring) as pool:
        try:
            yield pool.map
        except BrokenProcessPool as error:
            advice = "run the command again to go on, with --jobs 1 if memory is short"
            raise SandboxError(f"a process of the rebuild was killed; {advice}") from error


def _batches(runs: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(runs)
    while batch := list(islice(rest, size)):
        yield batch
