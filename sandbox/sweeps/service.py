"""Puts together what sweeps work with, from the configuration."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy.exc import DBAPIError

from collector.sigma.load import rules_digest
from sandbox.errors import DatabaseUnavailableError, UsageError
from sandbox.intake import read_pip_configuration
from sandbox.profile import load_profile
from sandbox.queue import connect, enqueue_or_leave
from sandbox.registry.cache import Cache
from sandbox.registry.fetch import Fetcher
from sandbox.resources import rules_directory
from sandbox.settings import Settings
from sandbox.submissions.model import Request
from sandbox.sweeps.feeds.make import make_feed
from sandbox.sweeps.run import Outcome, Service, run_sweep
from sandbox.sweeps.stopping import stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from sqlalchemy import Engine

    from sandbox.config import Configuration
    from sandbox.submissions.model import Submission
    from sandbox.sweeps.plan import Sweep

_MAX_INDEX_BYTES: Final = 64 * 1024**2
"""Of one project's page. Thousands are read, several at a time."""


@contextmanager
def open_service(
    configuration: Configuration, engine: Engine, environment: Mapping[str, str], tell: Callable[[str], None]
) -> Iterator[Service]:
    """What sweeps work with, until the end of the block; Ctrl-C and SIGTERM set its `stop`.

    Args:
        configuration: Which Redis hears of submissions.
        engine: The database; closed at the end.
        environment: Says where the cache is.
        tell: Shows a line to whoever watches.

    Raises:
        IntakeError: Pip's configuration names no index.
        DatabaseUnavailableError: The database went away.
    """
    stop = threading.Event()
    settings = msgspec.structs.replace(
        read_pip_configuration(environment).fetch_settings(), max_index_bytes=_MAX_INDEX_BYTES
    )
    cache = Cache(Settings.from_environment(environment).cache / "registry")
    try:
        with (
            Fetcher(settings, cache) as fetcher,
            stopping(stop, fetcher.break_off),
        ):
            yield Service(
                engine=engine,
                fetcher=fetcher,
                owner=f"{socket.gethostname()}:{os.getpid()}",
                stop=stop,
                clock=time.time,
                announce=_announcer(configuration),
                tell=tell,
            )
    except DBAPIError as error:
        raise DatabaseUnavailableError(
            f"the database does not answer ({type(error.orig).__name__}); the next run of the sweep goes on from here"
        ) from error
    finally:
        engine.dispose()


def run_one(service: Service, configuration: Configuration, sweep: Sweep) -> Outcome:
    """Run a sweep; see `run_sweep`.

    Raises:
        UsageError: Workers do not offer its profile.
    """
    request = request_for(configuration, sweep)
    feed = make_feed(sweep.feed, sweep.directory, service.fetcher, service.clock())
    return run_sweep(service, sweep, feed, request, configuration.queue.sweeps)


def request_for(configuration: Configuration, sweep: Sweep) -> Request:
    """What all submissions of a sweep have in common.

    Raises:
        UsageError: Workers do not offer its profile.
    """
    offered = {profile.name: profile for profile in map(load_profile, configuration.worker.profiles)}
    if sweep.profile not in offered:
        raise UsageError(f"the sweep {sweep.name!r}: {no_profile(sweep, offered)}")
    return Request(
        package="",
        profile=sweep.profile,
        profile_sha256=offered[sweep.profile].sha256,
        rules_sha256=rules_digest(rules_directory()),
        lane="sweep",
        pod=configuration.worker.pod,
        runtime=configuration.worker.runtime,
        submitter=f"sweep:{sweep.name}",
        budget=configuration.queue.attempts,
    )


def no_profile(sweep: Sweep, offered: Collection[str]) -> str:
    """What to say of a sweep whose profile workers do not offer."""
    return f"workers offer no profile {sweep.profile!r} but {', '.join(offered)}; see `worker.profiles`"


def _announcer(configuration: Configuration) -> Callable[[Submission], None]:
    """Queues submissions while Redis answers; what it does not hear of, the workers' reconciler queues."""
    if not configuration.redis:
        return lambda _submission: None
    connection, answers = connect(configuration), True

    def announce(submission: Submission) -> None:
        nonlocal answers
        # Not asked again: each try may take seconds, and thousands of submissions may follow.
        answers = answers and enqueue_or_leave(connection, [submission])

    return announce
