"""What a sweep would do, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec
from sqlalchemy import select

from sandbox.database.schema import SUBMISSIONS
from sandbox.registry.errors import RegistryError
from sandbox.submissions.submit import identity
from sandbox.sweeps import rows
from sandbox.sweeps.feeds.names import parts_of
from sandbox.sweeps.filters import Decision, decide, refuses_name
from sandbox.sweeps.look import Lookup
from sandbox.sweeps.run import ran_lately

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.submissions.model import Request
    from sandbox.sweeps.feeds.feed import Entry, Feed, Page
    from sandbox.sweeps.look import Looked
    from sandbox.sweeps.plan import Artefact, Sweep
    from sandbox.sweeps.run import Service

_Would: TypeAlias = Literal["submit", "existing", "skip", "gone", "unreadable"]
_BATCH: Final = 16


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of one package."""

    purl: str
    artefact: str
    why: str
    would: _Would
    reason: str


def preview(service: Service, sweep: Sweep, feed: Feed, request: Request) -> Iterator[Preview | str]:
    """Go through a sweep from where its next run would begin, until its budget of submissions.

    Nothing is committed. What earlier runs left over is not shown.

    Yields:
        Packages, and the feed's notes.
    """
    left = sweep.budget.submissions
    with Lookup(service.fetcher) as lookup:
        for page in feed.pages(rows.peek(service.engine, sweep)):
            yield from page.notes
            for shown in _page(service, sweep, page, lookup, request):
                yield shown
                left -= shown.would == "submit"
                if left <= 0:
                    yield f"the budget of {sweep.budget.submissions} submissions is used up; the next goes on here"
                    return
            if service.stop.is_set():
                return


def _page(service: Service, sweep: Sweep, page: Page, lookup: Lookup, request: Request) -> Iterator[Preview]:
    for start in range(0, len(page.entries), _BATCH):
        batch = page.entries[start : start + _BATCH]
        wanted = [entry.purl for entry in batch if not refuses_name(entry.purl, sweep.filters)]
        projects = lookup.ask(parts_of(purl)[0] for purl in wanted)
        for entry in batch:
            for artefact in sweep.filters.artefacts:
                yield _one(service, sweep, entry, artefact, projects, request)


def _one(  # noqa: PLR0913, PLR0917 - what decides about a package
    service: Service, sweep: Sweep, entry: Entry, artefact: Artefact, projects: dict[str, Looked], request: Request
) -> Preview:
    def shown(would: _Would, reason: str, purl: str = "") -> Preview:
        return Preview(purl=purl or entry.purl, artefact=artefact, why=entry.why, would=would, reason=reason)

    if reason := refuses_name(entry.purl, sweep.filters):
        return shown("skip", reason)
    looked = projects[parts_of(entry.purl)[0]]
    if isinstance(looked, RegistryError):
        return shown("unreadable", str(looked))
    decision: Decision = decide(entry.purl, artefact, looked, sweep.filters, service.clock())
    if decision.state == "gone":
        return shown("gone", decision.reason, decision.release)
    now = service.clock()
    if reason := decision.reason or ran_lately(service.engine, decision.release, artefact, sweep, now):
        return shown("skip", reason, decision.release)
    same = identity(msgspec.structs.replace(request, package=decision.release, artefact=artefact))
    with service.engine.connect() as connection:
        earlier = connection.scalars(select(SUBMISSIONS.c.id).where(SUBMISSIONS.c.standing == same)).first()
    would: _Would = "existing" if earlier else "submit"
    return shown(would, f"submission {earlier}" if earlier else "", decision.release)
