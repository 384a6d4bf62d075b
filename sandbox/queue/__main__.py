"""The process of one slot; started by the supervisor (`fumehood worker`), which it does not outlive."""

from __future__ import annotations

import gc
import os
import signal
import sys

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from sandbox.config import load_configuration
from sandbox.errors import SandboxError
from sandbox.observability import logs
from sandbox.pod import kernel
from sandbox.queue.connection import connect
from sandbox.queue.slot import Slot
from sandbox.queue.work import load_work

_ARGUMENTS = 3


def main(arguments: list[str]) -> int:
    """Run submissions until told to stop; 0 then, 1 when this machine cannot.

    Args:
        arguments: The name that rows get, before this process's number; and the supervisor's process id.
    """
    if len(arguments) != _ARGUMENTS:
        sys.stderr.write("this is started by `fumehood worker`\n")
        return 2
    name, supervisor = arguments[1], int(arguments[2])
    logs.configure()
    # Without its supervisor it hands back what it runs, and ends.
    kernel.die_with_parent(signal.SIGQUIT)
    if os.getppid() != supervisor:
        return 1
    owner = f"{name}.{os.getpid()}"
    structlog.contextvars.bind_contextvars(worker=owner)
    try:
        configuration = load_configuration(os.environ)
        work = load_work(configuration, os.environ)
        # It stays as long as the process: whoever looks for garbage need not go through it again.
        gc.freeze()
        slot = Slot(work, connect(configuration), owner)
        slot.work()
    except (SandboxError, RedisError, DBAPIError) as error:
        structlog.get_logger(__name__).error("this slot cannot work", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
