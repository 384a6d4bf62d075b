"""The options of the command line that choose a pod."""

from __future__ import annotations

import click
from click.core import ParameterSource

from sandbox import docker_commands


def _complete_runtime(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    return [name for name in docker_commands.runtimes() if name.startswith(typed)]


POD = click.option(
    "--pod",
    type=click.Choice(["auto", "bubblewrap", "docker"]),
    default="bubblewrap",
    show_default=True,
    envvar="FUMEHOOD_POD",
    show_envvar=True,
    help="What seals the package in. bubblewrap needs no daemon and no root. docker takes gVisor where it is "
    "registered, else runc. auto takes the strongest that works here and says which and why (docs/docker.md).",
)
RUNTIME = click.option(
    "--runtime",
    default="",
    metavar="NAME",
    envvar="FUMEHOOD_RUNTIME",
    show_envvar=True,
    shell_complete=_complete_runtime,
    help="Docker runtime of the pod, as the engine knows it: runsc (gVisor), runc or another. Not for bubblewrap, with "
    "which the environment variable is left unread.",
)


def runtime_for(pod: str, runtime: str) -> str:
    """The runtime that counts: one that the environment names for all commands is not bubblewrap's."""
    source = click.get_current_context().get_parameter_source("runtime")
    return "" if pod == "bubblewrap" and source is ParameterSource.ENVIRONMENT else runtime
