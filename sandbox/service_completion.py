"""What tab completion offers of the service, as its database and configuration know it; quietly nothing without them.

Nothing is made by asking, and nobody waits long: the shell waits meanwhile.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias

from click.shell_completion import CompletionItem

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable

    import click
    from sqlalchemy import Select

    from sandbox.submissions.model import State

    Completer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_MOST: Final = 50
_CONNECT_S: Final = 2


def submissions(*states: State) -> Completer:
    """Offer the ids of the latest submissions in any of some states; in any state at all without one."""

    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        from sqlalchemy import select

        from sandbox.database.schema import SUBMISSIONS

        table = SUBMISSIONS.c
        wanted = select(table.id, table.state + " " + table.package).where(table.id.startswith(typed, autoescape=True))
        if states:
            wanted = wanted.where(table.state.in_(states))
        return _known(context, wanted.order_by(table.created.desc()))

    return complete


def runs(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the latest runs."""
    from sqlalchemy import select

    from collector.store.schema import RUNS

    table = RUNS.c
    wanted = select(table.run, table.verdict + " " + table.purl).where(table.run.startswith(typed, autoescape=True))
    return _known(context, wanted.order_by(table.created.desc()))


def workers(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the names of workers that do not drain yet."""
    from sqlalchemy import select

    from sandbox.database.schema import WORKERS

    table = WORKERS.c
    here = (table.name.startswith(typed, autoescape=True), table.draining.is_(False))
    return _known(context, select(table.name, table.host).where(*here).order_by(table.name))


def tokens(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the names of tokens that are not revoked."""
    from sqlalchemy import select

    from sandbox.database.schema import TOKENS

    table = TOKENS.c
    here = (table.name.startswith(typed, autoescape=True), table.revoked.is_(None))
    return _known(context, select(table.name, table.role).where(*here).distinct().order_by(table.name))


def profiles(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the profiles that the configuration does."""
    from sandbox.config import load_configuration
    from sandbox.profile import load_profile

    try:
        plan = load_configuration(os.environ, context.params.get("config")).worker
        offered = [load_profile(name).name for name in plan.profiles]
    except SandboxError:
        return []
    return [CompletionItem(name) for name in offered if name.startswith(typed)]


def _known(context: click.Context, wanted: Select[str, str]) -> list[CompletionItem]:
    """What the database has: names, and what is said beside them."""
    from sqlalchemy.exc import DBAPIError

    from sandbox.config import load_configuration
    from sandbox.database import is_made, open_database
    from sandbox.terminal.page import harmless

    try:
        url = load_configuration(os.environ, context.params.get("config")).database
        engine = open_database(url, connect_s=_CONNECT_S)
        if not is_made(engine):
            return []
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(wanted.limit(_MOST))]
    except (SandboxError, DBAPIError, OSError):
        return []
    given = {name for value in context.params.values() if isinstance(value, tuple) for name in value}
    return [CompletionItem(name, help=harmless(told)) for name, told in found if name not in given]
