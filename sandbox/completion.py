"""What tab completion offers for arguments and options that click cannot list by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from click.shell_completion import CompletionItem

from sandbox.resources import profile_names, rules_directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import click


def packages(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the beginning of a purl, or files."""
    purl = "pkg:pypi/"
    # `file` leaves it to the shell, which knows about files.
    return [CompletionItem(purl)] if typed and purl.startswith(typed) else [CompletionItem(typed, type="file")]


def directories(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer directories, as bundles are."""
    return [CompletionItem(typed, type="dir")]


def profiles(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the shipped profiles; files where none begins so."""
    names = _begun(profile_names(), typed)
    return names or [CompletionItem(typed, type="file")]


def rule_names(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the names of rules, as their files are called: nothing is loaded while somebody types."""
    directory: Path = context.params.get("rules") or rules_directory()
    places = (directory, directory / "nursery")
    return _begun((path.stem for place in places for path in place.glob("*.yml")), typed)


def kinds(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the kinds of event, and what several begin with."""
    from collector.events import AnyEvent

    tags = {str(kind.__struct_config__.tag) for kind in get_args(AnyEvent)}
    return _begun(tags | {tag.partition(".")[0] for tag in tags}, typed)


def _begun(names: Iterable[str], typed: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(set(names)) if name.startswith(typed)]
