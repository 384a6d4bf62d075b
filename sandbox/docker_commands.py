"""What the commands about Docker do. The docker library is loaded only here, and only when one of them is called."""

from __future__ import annotations

import click

from sandbox.errors import SandboxError


def prune_pods() -> int:
    """Remove what crashed workers left in Docker."""
    from sandbox.pod.docker import engine, labels

    client = engine.connect()
    try:
        removed = labels.prune(client)
    finally:
        client.close()
    for kind, names in (("container", removed.containers), ("image", removed.images)):
        for name in names:
            click.echo(f"removed {kind} {name}")
    for line in removed.left:
        click.echo(f"left for now: container {line}", err=True)
    if not removed.containers and not removed.images:
        click.echo("nothing to remove")
    return 0


def runtimes() -> tuple[str, ...]:
    """Names of Docker's runtimes, for completion; without an engine those that we know of."""
    from sandbox.pod.docker import engine

    try:
        client = engine.connect()
        try:
            names = engine.runtimes(client)
        finally:
            client.close()
    except SandboxError:
        names = ("runc", "runsc")
    # Those with dots are containerd's own names for the others.
    return tuple(name for name in names if "." not in name)
