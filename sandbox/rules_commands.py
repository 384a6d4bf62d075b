"""What `fumehood rules ...` does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from sandbox.resources import rules_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from collector.sigma.rule import Rule, RuleSet


def load_rules(directory: Path | None = None, sigma: Sequence[Path] = ()) -> RuleSet:
    """Load rules: those of a directory, or the shipped ones, and those by others that are given besides."""
    from collector.sigma.foreign import with_foreign
    from collector.sigma.load import load_rules as load

    return with_foreign(load(directory or rules_directory()), sigma)


def list_rules(directory: Path | None, sigma: Sequence[Path], form: Literal["text", "json"]) -> int:
    """List rules, and those that were skipped."""
    loaded = load_rules(directory, sigma)
    if form == "json":
        skipped = [it._asdict() for it in loaded.skipped]
        click.echo(json.dumps({"rules": [_told(rule) for rule in loaded.rules], "skipped": skipped}, indent=2))
        return 0
    for rule in loaded.rules:
        click.echo(f"{rule.level:<13} {rule.name:<36} {','.join(rule.attack) or '-':<24} {rule.title}")
    if sigma:
        foreign = sum(rule.foreign for rule in loaded.rules)
        click.echo(f"\nrules by others: {foreign} loaded, {len(loaded.skipped)} skipped")
    for it in loaded.skipped:
        click.echo(f"skipped       {it.path}: {it.reason}" + (f" ({it.title})" if it.title else ""))
    return 0


def _told(rule: Rule) -> dict[str, object]:
    names = ("id", "name", "path", "title", "level", "attack", "nursery", "foreign", "description", "why")
    return {name: getattr(rule, name) for name in (*names, "falsepositives")}


def check_rules(directory: Path) -> int:
    """Load rules and run their examples."""
    click.echo(f"{len(load_rules(directory).rules)} rules load, and their examples hold")
    return 0


def document(page: Path | None) -> int:
    """Print the tables of categories, fields and modifiers, or renew them in a page."""
    from collector.sigma.document import BLOCKS, renewed

    if page is None:
        click.echo("\n".join(make() for make in BLOCKS.values()), nl=False)
    else:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0
