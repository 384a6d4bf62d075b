"""The commands `fumehood rules ...`; what they do is in `sandbox.rules_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import click

from sandbox import rules_commands
from sandbox.completion import directories, rule_names

Format: TypeAlias = Literal["text", "json"]

RULES = click.option(
    "--rules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of Sigma rules to use instead of the shipped ones.",
)
SIGMA = click.option(
    "--sigma",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Directory of Sigma rules by others, such as SigmaHQ's rules/linux, to run besides (repeatable). They make a "
    "verdict suspicious at most; those that cannot run here are skipped and counted.",
)
_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


@click.group()
def rules() -> None:
    """Look at the detection rules (Sigma); docs/rules.md says how to write one."""


@rules.command(name="list")
@RULES
@SIGMA
@_FORMAT
def list_rules(rules: Path | None, sigma: tuple[Path, ...], form: Format) -> int:
    """List the rules: level, name, ATT&CK techniques, title; and which rules by others were skipped, with the reason.

    \b
    Examples:
      fumehood rules list
      fumehood rules list --sigma ./sigma/rules/linux
    """
    return rules_commands.list_rules(rules, sigma, form)


@rules.command(name="check")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def check_rules(directory: Path) -> int:
    """Load the rules in DIRECTORY and run their examples; says what is wrong with the first that does not hold."""
    return rules_commands.check_rules(directory)


@rules.command(name="test")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=rule_names)
@RULES
@SIGMA
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    shell_complete=directories,
    help="Run the rules on this evidence bundle instead of their examples, and show which events match.",
)
@_FORMAT
def prove_rules(
    names: tuple[str, ...], rules: Path | None, sigma: tuple[Path, ...], bundle: Path | None, form: Format
) -> int:
    """Run the examples of the rules NAME (all, if none is named), and go on after one that fails.

    Exits with 1 when an example does not hold. With --bundle the rules run on recorded events.

    \b
    Examples:
      fumehood rules test --rules ./my-rules
      fumehood rules test ssh-keys-read --bundle BUNDLE
      fumehood rules test --sigma ./sigma/rules/linux --bundle BUNDLE
    """
    return rules_commands.prove_rules(names, rules, sigma, bundle, form)


@rules.command(name="lint")
@RULES
@_FORMAT
def lint_rules(rules: Path | None, form: Format) -> int:
    """Say what could be better: patterns that never match, duplicates, shadowed, slow and incomplete rules.

    An error is wrong (the rule does not load, never matches, or repeats another) and makes the exit code 1; advice may
    be meant so.
    """
    return rules_commands.lint_rules(rules, form)


@rules.command(name="explain")
@click.argument("name", shell_complete=rule_names)
@RULES
@SIGMA
@_FORMAT
def explain_rule(name: str, rules: Path | None, sigma: tuple[Path, ...], form: Format) -> int:
    """Explain the rule NAME: why it is there, what it looks at, and which line of its examples fits which part.

    \b
    Examples:
      fumehood rules explain ssh-keys-read
      fumehood rules explain linux/proc_creation_lnx_x --sigma ./sigma/rules/linux
    """
    return rules_commands.explain_rule(name, rules, sigma, form)


@rules.command(name="docs")
@click.option(
    "--update",
    "page",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    help="Renew the tables in this page (docs/rules.md) instead of printing them.",
)
def document(page: Path | None) -> int:
    """Print the tables of modifiers, categories and fields that rules may use, as Markdown."""
    return rules_commands.document(page)
