"""Real servers for tests, started as children of the test process: Redis and PostgreSQL as Debian packages them, and
moto, the nearest thing to an S3 that can be installed.

The fixtures are there in every test, without an import (tests/conftest.py takes them in):

| fixture | gives |
|---|---|
| `s3` | an empty bucket of an S3-like server (moto, in memory), new for each test; its URL |
| `redis_server` | a Redis of the test's own: unix socket, append-only file, no password |
| `start_redis` | a function that starts more, of any kind: `start_redis(RedisKind(append_only=False, tls=True))` |
| `postgresql` | the cluster of this test process; never stop it |
| `own_postgresql` | a cluster of the test's own, to be stopped, killed and started again |
| `database_url` | an empty database, new for each test; the test runs twice, on SQLite and on PostgreSQL |
| `postgresql_url` | an empty database in PostgreSQL, new for each test |

`server.url` is what clients want; it stays the same over `stop`, `kill` (SIGKILL, of all of its processes) and `start`.
All of them end with the test. A server that is not installed fails the test and says how to get it; nothing is skipped.

Start servers from the main thread: the kernel ends them together with the thread that started them.
"""

from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import RedisKind, RedisServer

__all__ = ["PostgreSQL", "RedisKind", "RedisServer"]
