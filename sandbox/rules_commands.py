"""What `fumehood rules ...` does."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from sandbox.errors import UsageError
from sandbox.resources import rules_directory
from sandbox.standard_output import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collector.findings import Finding
    from collector.sigma.explain import Explained, Look, Shown
    from collector.sigma.rule import Rule, RuleSet

Format: TypeAlias = Literal["text", "json"]
_WIDTH = 80
"""Columns of prose."""
_SHOWN = 10
"""Most events that `test` shows of a finding."""


def load_rules(directory: Path | None = None, sigma: Sequence[Path] = ()) -> RuleSet:
    """Load rules: those of a directory, or the shipped ones, and those by others that are given besides."""
    from collector.sigma.foreign import with_foreign
    from collector.sigma.load import load_rules as load

    return with_foreign(load(directory or rules_directory()), sigma)


def _print(text: str) -> None:
    """Print to a reader who may have seen enough, as all commands do."""
    write([text.encode(errors="backslashreplace"), b"\n"])


def list_rules(directory: Path | None, sigma: Sequence[Path], form: Format) -> int:
    """List rules, and those that were skipped."""
    loaded = load_rules(directory, sigma)
    if form == "json":
        skipped = [it._asdict() for it in loaded.skipped]
        _print(json.dumps({"rules": [_told(rule) for rule in loaded.rules], "skipped": skipped}, indent=2))
        return 0
    for rule in loaded.rules:
        _print(f"{rule.level:<13} {rule.name:<36} {','.join(rule.attack) or '-':<24} {rule.title}")
    if sigma:
        foreign = sum(rule.foreign for rule in loaded.rules)
        _print(f"\nrules by others: {foreign} loaded, {len(loaded.skipped)} skipped")
    for it in loaded.skipped:
        _print(f"skipped       {it.path}: {it.reason}" + (f" ({it.title})" if it.title else ""))
    return 0


def _told(rule: Rule) -> dict[str, object]:
    names = ("id", "name", "path", "title", "level", "attack", "nursery", "foreign", "description", "why")
    return {name: getattr(rule, name) for name in (*names, "falsepositives")}


def check_rules(directory: Path) -> int:
    """Load rules and run their examples."""
    _print(f"{len(load_rules(directory).rules)} rules load, and their examples hold")
    return 0


def prove_rules(
    names: Sequence[str], directory: Path | None, sigma: Sequence[Path], bundle: Path | None, form: Format
) -> int:
    """Run the examples of rules, or the rules on a bundle."""
    if bundle is not None:
        return _on_bundle(_chosen(load_rules(directory, sigma), names), bundle, form)
    from collector.sigma.load import load_each

    rules, errors = load_each(directory or rules_directory())
    told = [rule for rule in rules if not names or rule.name in names]
    _check_names(names, [rule.name for rule in rules], errors)
    examples = {rule.name: len(rule.examples) for rule in told}
    if form == "json":
        _print(json.dumps({"held": examples, "errors": list(map(str, errors))}, indent=2))
    else:
        for rule in told:
            _print(f"ok    {rule.name}: {len(rule.examples)} examples")
        for error in errors:
            _print(f"FAIL  {error}")
        _print(f"{len(told)} rules hold with {sum(examples.values())} examples, {len(errors)} fail")
    return 1 if errors else 0


def _chosen(rules: RuleSet, names: Sequence[str]) -> RuleSet:
    from collector.sigma.rule import RuleSet

    _check_names(names, [rule.name for rule in rules.rules], ())
    return RuleSet(tuple(rule for rule in rules.rules if not names or rule.name in names), rules.digest)


def _check_names(names: Sequence[str], known: Sequence[str], errors: Sequence[Exception]) -> None:
    from difflib import get_close_matches

    for name in names:
        if name in known or any(str(error).startswith((f"{name}.yml", f"nursery/{name}.yml")) for error in errors):
            continue
        near = get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else "`fumehood rules list` lists them"
        raise UsageError(f"there is no rule {name!a}; {advice}")


def _on_bundle(rules: RuleSet, bundle: Path, form: Format) -> int:
    from collector import timeline
    from collector.bundle import Bundle
    from collector.findings import match
    from collector.redact import Redactor
    from collector.sigma.view import Context
    from collector.text import render

    opened = Bundle.open(bundle)
    told = timeline.build(opened)
    context = Context(opened.manifest.home, opened.manifest.user, told.processes)
    redactor = Redactor.of(opened.bait)
    found = match(rules, told.events, context)
    lines = [[redactor.text(render(event, source=True)) for event in finding.evidence] for finding in found]
    if form == "json":
        _print(json.dumps([_finding(*pair) for pair in zip(found, lines, strict=True)], indent=2))
        return 0
    for finding, shown in zip(found, lines, strict=True):
        _print(f"{finding.level:<13} {finding.name}: {finding.count} events in {finding.phase} by {finding.actor}")
        for line in shown[:_SHOWN]:
            _print(f"    {line}")
    silent = len(rules.rules) - len({finding.name for finding in found})
    _print(f"{len(rules.rules)} rules on {len(told.events):,} events: {silent} match nothing")
    return 0


def _finding(finding: Finding, lines: list[str]) -> dict[str, object]:
    names = ("name", "level", "phase", "actor", "count")
    return {name: getattr(finding, name) for name in names} | {"events": lines}


def lint_rules(directory: Path | None, form: Format) -> int:
    """Say what could be better about rules."""
    from collector.sigma.lint import Advice, lint, unused_lists
    from collector.sigma.load import load_each, load_lists

    place = directory or rules_directory()
    rules, errors = load_each(place)
    broken = [
        Advice(path=str(error).split(":")[0], rule="", code="does-not-load", severity="error", message=str(error))
        for error in errors
    ]
    said = [*broken, *lint(rules)]
    if not errors:
        said += unused_lists(load_lists(place), rules)
    if form == "json":
        _print(json.dumps(msgspec.to_builtins(said), indent=2))
    else:
        for advice in said:
            where = "" if advice.code == "does-not-load" else f"{advice.path}: "
            _print(f"{advice.severity:<7} {advice.code:<14} {where}{advice.message}")
        wrong = sum(advice.severity == "error" for advice in said)
        _print(f"{len(rules)} rules: {wrong} errors, {len(said) - wrong} recommendations")
    return 1 if any(advice.severity == "error" for advice in said) else 0


def explain_rule(name: str, directory: Path | None, sigma: Sequence[Path], form: Format) -> int:
    """Explain a rule."""
    from collector.sigma.explain import explain

    [rule] = _chosen(load_rules(directory, sigma), [name]).rules
    explained = explain(rule)
    if form == "json":
        _print(json.dumps(msgspec.to_builtins(explained), indent=2))
    else:
        _print("\n".join(_explained(explained)))
    return 0


def _explained(rule: Explained) -> Iterator[str]:
    standing = " (by others: suspicious at most)" if rule.foreign else " (on trial)" if rule.nursery else ""
    yield f"{rule.title}"
    yield f"  {rule.level}{standing}  {', '.join(rule.attack) or 'no technique'}  {rule.path}"
    yield ""
    for head, text in (("what", rule.description), ("why it matters", rule.why), ("normal", rule.normal)):
        if text:
            yield from _wrapped(f"{head}: {text}")
    for text in rule.falsepositives:
        yield from _wrapped(f"looks like it: {text}")
    if rule.correlation:
        yield f"\nIt fires on {rule.correlation}."
    for look in rule.looks:
        yield ""
        yield from _look(look)
    for example in rule.examples:
        yield ""
        yield from _example(example)


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(" ".join(text.split()), _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _look(look: Look) -> Iterator[str]:
    name = f"{look.name}: " if look.name else ""
    yield f"{name}looks at {', '.join(look.kinds)} ({look.logsource})"
    if look.group_by:
        yield f"  grouped by {', '.join(look.group_by)}"
    for part in look.parts:
        yield f"  {part.name}:"
        yield from (f"    {line}" for line in part.yaml.splitlines())
    yield from (f"  when {condition}" for condition in look.conditions)
    yield f"  tried on events with {' or '.join(look.looked_up) or 'anything'}"


def _example(example: Shown) -> Iterator[str]:
    yield f"example, {'matches' if example.match else 'near miss'}: {example.name}"
    for line in example.lines:
        yield f"  {line.event}"
        yield f"      {'MATCHES ' + ', '.join(line.matches) if line.matches else 'no match'}; fits " + (
            ", ".join(line.parts) or "no part"
        )


def document(page: Path | None) -> int:
    """Print the tables of categories, fields and modifiers, or renew them in a page."""
    from collector.sigma.document import BLOCKS, renewed

    if page is None:
        write([("\n".join(make() for make in BLOCKS.values())).encode()])
    else:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0
