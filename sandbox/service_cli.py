"""The commands of the service that face its users: `fumehood serve`, `fumehood token ...`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sandbox import service_completion as offered

if TYPE_CHECKING:
    from sandbox.config import Configuration
    from sandbox.tokens import Role

CONFIG = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="FUMEHOOD_CONFIG",
    show_envvar=True,
    help="The configuration's file; without it the user's or the machine's, if there is one.",
)

FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


def configured(config: Path | None) -> Configuration:
    """The configuration that a command runs under."""
    from sandbox.config import load_configuration

    return load_configuration(os.environ, config)


@click.command()
@click.option("--host", help="Address to listen on, instead of the configuration's `api.host`.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port instead of `api.port`; 0 for any that is free.")
@CONFIG
def serve(host: str | None, port: int | None, config: Path | None) -> int:
    """Offer the HTTP interface, /api/v1 (docs/api.md), until Ctrl-C or SIGTERM.

    Submissions are committed to the database before they are answered; `fumehood worker` runs them. The database's
    tables are made or brought up to date first.

    \b
    Examples:
      fumehood token create me --role admin
      fumehood serve --port 8041
      curl -H "Authorization: Bearer $TOKEN" --json '{"purl": "pkg:pypi/six"}' http://127.0.0.1:8041/api/v1/submissions
    """
    from sandbox.service_commands import serve as run

    return run(configured(config), host=host, port=port)


@click.group()
def token() -> None:
    """Say who may use the HTTP interface, and what they may do.

    \b
    Roles, each with what those before it may do:
      submit   submit packages, see what becomes of them
      analyst  list and search, rerun, retry, label, download evidence
      admin    pause lanes, drain workers, see deliveries
    """


@token.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["submit", "analyst", "admin"]),
    default="submit",
    show_default=True,
    help="What it may do.",
)
@click.option(
    "--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="For how many days it holds."
)
@click.option("--no-expiry", is_flag=True, help="It holds until it is revoked, instead of --days.")
@CONFIG
def create(name: str, role: Role, days: int, no_expiry: bool, config: Path | None) -> int:
    """Make a token for NAME and print its secret, alone on standard output. It is not kept, only its digest.

    \b
    Examples:
      fumehood token create scanner
      TOKEN=$(fumehood token create me --role admin --days 7)
    """
    from sandbox.service_commands import create_token

    return create_token(configured(config), name, role, None if no_expiry else days)


@token.command("list")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@CONFIG
def list_(form: Literal["text", "json"], config: Path | None) -> int:
    """List tokens: whose they are, what they may do, until when, and when they were last used."""
    from sandbox.service_commands import list_tokens

    return list_tokens(configured(config), form)


@token.command()
@click.argument("token_id", metavar="ID|NAME", shell_complete=offered.tokens)
@CONFIG
def revoke(token_id: str, config: Path | None) -> int:
    """Revoke the token ID, or all tokens of NAME. They are refused from the next request on."""
    from sandbox.service_commands import revoke_tokens

    return revoke_tokens(configured(config), token_id)
