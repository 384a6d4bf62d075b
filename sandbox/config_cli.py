"""The commands `fumehood config ...`; what they do is in `sandbox.config_commands`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from sandbox.service_cli import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


@click.group()
def config() -> None:
    """Look at the configuration of what runs as a service (docs/configuration.md).

    It is a YAML file, named by --config or FUMEHOOD_CONFIG, else ~/.config/fumehood/fumehood.yaml, else
    /etc/fumehood/fumehood.yaml; variables of the environment (FUMEHOOD_API_PORT) are stronger. None is needed on one
    machine.
    """


@config.command()
@_FORMAT
@CONFIG
def show(form: Literal["text", "json"], config: Path | None) -> int:
    """Print the configuration that counts, with where each value comes from. Passwords are not shown.

    The text is YAML, so that it can be the beginning of a file of yours.
    """
    from sandbox.config_commands import show as run

    return run(config, form)


@config.command(
    epilog="""
\b
Exit codes:
  0  all is well (there may be warnings)
  2  the configuration is wrong
  4  it is right, but what it names cannot be used now
"""
)
@click.option("--offline", is_flag=True, help="Do not ask database, Redis and evidence store.")
@_FORMAT
@CONFIG
def check(offline: bool, form: Literal["text", "json"], config: Path | None) -> int:
    """Check the file and the environment, and whether database, Redis and evidence can be used from here.

    \b
    Examples:
      fumehood config check
      fumehood config check --config ./fumehood.yaml --offline
    """
    from sandbox.config_commands import check as run

    return run(config, form, offline=offline)
