"""Where the command `fumehood` begins; loads next to nothing, so that Ctrl-C is in order almost from the first moment.

Until Python has come here, a few hundredths of a second, Ctrl-C is answered by Python itself, with a traceback.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Entry point of the `fumehood` command."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        # While the rest is loaded nothing has begun yet: the process just ends, as other programs do.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sandbox.cli import cli  # noqa: PLC0415 - takes a while
    from sandbox.commands import guarded  # noqa: PLC0415 - likewise

    def command() -> int:
        return cli.main(prog_name="fumehood", standalone_mode=False) or 0

    sys.exit(guarded((lambda: _interruptible(command)) if heard else command))


def _interruptible(command: Callable[[], int]) -> int:
    """Run it; Ctrl-C raises KeyboardInterrupt meanwhile, and no longer when what is left is to exit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return command()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
