"""Reads the file of sweeps, and checks what its parts say about each other."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from collector.located import Document, Sort, nearest
from collector.textfile import read_text
from sandbox.errors import SweepsFileError, UsageError
from sandbox.resources import SWEEPS, profiles_directory
from sandbox.sweeps.plan import KEYS, DigestPlan, Digests, FeedPlan, Plans, Sweep, SweepPlan, SweepsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.located import Place


_FILE: Final = Sort("sweeps file", SweepsFileError, "copy profiles/sweeps.yaml and change it")
_MAX_BYTES: Final = 256 * 1024
_CRON_FIELDS: Final = 5


def find_sweeps(environment: Mapping[str, str], given: Path | None = None) -> Path:
    """The file that counts: as given, else FUMEHOOD_SWEEPS, else the one that is shipped."""
    if given is not None:
        return given
    named = environment.get("FUMEHOOD_SWEEPS")
    return Path(named) if named else profiles_directory() / f"{SWEEPS}.yaml"


def load_sweeps(path: Path) -> dict[str, Sweep]:
    """Every sweep of a file, by name, in its order. Errors as for `load_plans`."""
    return load_plans(path).sweeps


def load_plans(path: Path) -> Plans:
    """Everything in a file.

    Raises:
        SweepsFileError: It cannot be read, or is wrong; the message names line and remedy.
    """
    document = Document(read_text(path, str(path), _FILE, _MAX_BYTES), str(path), _FILE)
    file = document.read(SweepsFile)
    for name, plan in file.sweeps.items():
        _check(document, name, plan)
    sweeps = {
        name: Sweep(
            **{key: getattr(plan, key) for key in SweepPlan.__struct_fields__},
            name=name,
            directory=path.absolute().parent,
        )
        for name, plan in file.sweeps.items()
    }
    if file.digest is None:
        return Plans(sweeps=sweeps, digest=None)
    if file.digest.directory is None and file.digest.webhook is None:
        raise document.place(("digest",)).error("the digest goes nowhere; give it a `directory`, a `webhook` or both")
    _check_schedule(file.digest, lambda key: document.place(("digest", key)))
    values = {key: getattr(file.digest, key) for key in DigestPlan.__struct_fields__}
    place = None if file.digest.directory is None else path.absolute().parent / file.digest.directory
    return Plans(sweeps=sweeps, digest=Digests(**values, place=place))


def pick(sweeps: Mapping[str, Sweep], name: str) -> Sweep:
    """The sweep of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in sweeps:
        raise UsageError(f"there is no sweep {name!r}; {nearest(name, sweeps)} (`fumehood sweep list`)")
    return sweeps[name]


def _check(document: Document, name: str, plan: SweepPlan) -> None:
    def place(*keys: str) -> Place:
        return document.place(("sweeps", name, *keys))

    _check_feed(plan.feed, lambda key: place("feed", *filter(None, [key])))
    _check_schedule(plan, place)
    filters = plan.filters
    if not filters.artefacts or len(set(filters.artefacts)) < len(filters.artefacts):
        raise place("filters", "artefacts").error("artefacts must name at least one kind, each once")
    newer, older = filters.newer_than_days, filters.older_than_days
    if newer is not None and older is not None and newer <= older:
        raise place("filters", "newer_than_days").error(
            f"nothing is both newer than {newer} days and older than {older}; exchange the numbers"
        )


def _check_schedule(plan: SweepPlan | DigestPlan, place: Callable[[str], Place]) -> None:
    if plan.schedule is not None and not _is_cron(plan.schedule):
        raise place("schedule").error(
            f"{plan.schedule!r} is no schedule; write five fields (minute hour day month weekday), such as '30 2 * * *'"
        )
    try:
        ZoneInfo(plan.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise place("timezone").error(f"there is no time zone {plan.timezone!r}; try UTC or Europe/Paris") from error


def _check_feed(feed: FeedPlan, place: Callable[[str], Place]) -> None:
    required, allowed = KEYS[feed.kind]
    given = {key for key in FeedPlan.__struct_fields__ if key != "kind" and getattr(feed, key) is not None}
    for key in sorted(required - given):
        raise place("").error(f"key {key!r} is missing: a feed of kind {feed.kind!r} needs it")
    for key in sorted(given - required - allowed):
        valid = ", ".join(sorted(required | allowed))
        raise place(key).error(f"a feed of kind {feed.kind!r} has no {key!r}; it may have: {valid or 'nothing else'}")
    if feed.source is not None and "://" in feed.source and feed.kind != "trending":
        raise place("source").error(f"a feed of kind {feed.kind!r} reads files; download it and give its path")
    if feed.source is not None and "://" in feed.source and not feed.source.startswith("https://"):
        raise place("source").error("write a path, or an address that begins with https://")
    if feed.since is not None:
        try:
            date.fromisoformat(feed.since)
        except ValueError as error:
            raise place("since").error(f"{feed.since!r} is no date; write year-month-day") from error


def _is_cron(text: str) -> bool:
    if len(text.split()) != _CRON_FIELDS or not croniter.is_valid(text):
        return False
    try:
        croniter(text, 0).get_next()
    except CroniterError:  # a day that never comes, such as the 31st of February
        return False
    return True
