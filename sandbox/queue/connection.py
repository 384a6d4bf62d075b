"""A client of the Redis that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from sandbox.config import Configuration

_ANSWER_S: Final = 30
"""Longer than the longest question of ours, a pop that waits."""
_CONNECT_S: Final = 5


def connect(configuration: Configuration) -> Redis:
    """A client; nothing is asked of the server yet.

    Args:
        configuration: `redis` is `unix://PATH`, `redis://[USER:PASSWORD@]HOST:PORT/DB`, or `rediss://…` for TLS, with
            redis-py's parameters after a question mark (`?ssl_ca_certs=FILE`, `?db=1`).

    Raises:
        ConfigurationError: There is no URL, or it is not one of these.
    """
    if not configuration.redis:
        hint = "write `redis: unix:///run/redis/redis.sock` or set FUMEHOOD_REDIS"
        raise ConfigurationError(f"no Redis is configured; {hint}, or start everything here with `fumehood up`")
    try:
        return Redis.from_url(
            configuration.redis,
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_CONNECT_S,
            health_check_interval=_ANSWER_S,
            # Once more at once, for a server that was restarted since; whoever waits for it does so knowingly.
            retry=Retry(NoBackoff(), 1),
        )
    except (ValueError, TypeError, RedisError) as error:
        # The URL holds the password: it is not repeated.
        raise ConfigurationError(
            "the URL of Redis cannot be read; write unix://PATH, redis://HOST:PORT or rediss://HOST:PORT"
        ) from error


def connect_if_any(configuration: Configuration) -> Redis | None:
    """The same; `None` where no Redis is configured, and none was started by `fumehood up`.

    Raises:
        ConfigurationError: As for `connect`.
    """
    return connect(configuration) if configuration.redis else None
