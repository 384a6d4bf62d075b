"""The actors of a run's events, and where the programs came from that it executed, in one pass over the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.actors import Attribution
from collector.aliases import TrueNames
from collector.allowance import Allowance
from collector.brief import Brief
from collector.events import FileRead
from collector.origins import Origins
from collector.standing import INSTALLER, TARGET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collector.brief import Told
    from collector.manifest import Manifest
    from collector.processes import ProcessTable


def attribute(
    events: Iterable[Told], processes: ProcessTable, manifest: Manifest, allowance: Allowance | None = None
) -> Iterator[Told]:
    """Fill in the actors of a run's events, and how the programs came to be that were executed.

    Args:
        events: All events of the run in order of time.
        processes: Its processes.
        manifest: Its manifest.
        allowance: How many names and programs are followed.

    Returns:
        The events in the same order. After each reading of a file that was renamed or linked stands the same under the
        file's first name.
    """
    allowance = allowance or Allowance()
    attribution, names = Attribution(processes, manifest), TrueNames(manifest.home, allowance)
    settled, image, aliases = attribution.settled, attribution.image, names.aliases
    origins = Origins(processes, attribution.actor, allowance)
    for event in events:
        if type(event) is Brief:
            actor, what = settled.get(event.pid), event.what
            if actor is None or (
                actor == INSTALLER and not what.path.startswith(image) and not attribution.is_harmless(what)
            ):
                actor = attribution.reader(event.event())
            yield event if actor == TARGET else Brief(event.ts, event.pid, event.line, what, actor)
            if aliases and (true := names.true(what.path)) is not None:
                yield attribution.attributed(msgspec.structs.replace(event.event(), path=true))
            continue
        attributed = attribution.attributed(event)
        if type(attributed) is FileRead:
            # A file that is read says nothing of where a program came from.
            yield attributed
            if aliases and (true := names.true(attributed.path)) is not None:
                yield attribution.attributed(msgspec.structs.replace(event, path=true))
        else:
            names.note(attributed)
            yield origins.explained(attributed)
