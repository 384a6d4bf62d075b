"""`python -m sandbox.gateway CONFIG.json`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.gateway.config import load
from sandbox.gateway.server import serve


def main() -> None:
    """Run the gateway with the configuration named on the command line."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one argument
        sys.exit("usage: python -m sandbox.gateway CONFIG.json")
    try:
        asyncio.run(serve(load(Path(sys.argv[1]))))
    except SandboxError as error:
        sys.exit(f"gateway: {error}")


if __name__ == "__main__":
    main()
