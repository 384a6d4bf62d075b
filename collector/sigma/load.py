"""Rule files: one rule each, or one correlation with its base rules; read, checked and proven by their examples."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from collector.errors import RuleError
from collector.sigma.build import build_rules
from collector.sigma.examples import prove
from collector.sigma.lists import LISTS, load_list
from collector.sigma.parse import parse_file
from collector.sigma.rule import Rule, RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from collector.sigma.lists import NamedList

NURSERY = "nursery"
"""Name of the directories whose rules are not yet trusted to call anything malicious."""


def load_rules(directory: Path) -> RuleSet:
    """Read all rules below a directory.

    Args:
        directory: Every `*.yml` below it is a rule file, but for named lists in `lists/`; rules below a directory
            `nursery` are marked.

    Returns:
        The rules, in order of their paths.

    Raises:
        RuleError: There are no rules, or a file is not a rule, does not say why it matters, or has examples that do
            not do what they say. The message names file, place and remedy.
    """
    files = dict(_files(directory))
    lists = {_list_name(name): load_list(name, content) for name, content in files.items() if _is_list(name)}
    rules = [rule for name, content in files.items() if not _is_list(name) for rule in load_rule(name, content, lists)]
    if not rules:
        raise RuleError(f"{directory}: there are no rules below this directory; name one that has *.yml files")
    _refuse_duplicates(rules)
    return RuleSet(tuple(rules), _digest(files))


def rules_digest(directory: Path) -> str:
    """Return the digest that the rules below a directory have once they are loaded; they are not.

    Raises:
        RuleError: A file cannot be read.
    """
    return _digest(dict(_files(directory)))


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def load_each(directory: Path) -> tuple[tuple[Rule, ...], tuple[RuleError, ...]]:
    """Read all rules below a directory, and go on after one that does not load.

    Args:
        directory: See `load_rules`.

    Returns:
        The rules that load, and why the others do not.

    Raises:
        RuleError: There are no files, or one cannot be read.
    """
    files = dict(_files(directory))
    if not files:
        raise RuleError(f"{directory}: there are no rules below this directory; name one that has *.yml files")
    lists: dict[str, NamedList] = {}
    rules: list[Rule] = []
    errors: list[RuleError] = []
    # Lists first: rules take them in.
    for name, content in sorted(files.items(), key=lambda item: not _is_list(item[0])):
        try:
            if _is_list(name):
                lists[_list_name(name)] = load_list(name, content)
            else:
                made = load_rule(name, content, lists)
                _refuse_duplicates([*rules, *made])
                rules += made
        except RuleError as error:
            errors.append(error)
    return tuple(rules), tuple(errors)


def load_lists(directory: Path) -> dict[str, NamedList]:
    """Read the named lists of a directory of rules.

    Args:
        directory: The lists are its `lists/*.yml`.

    Returns:
        By name, the stem of the file's name; empty when there are none.

    Raises:
        RuleError: See `collector.sigma.lists.load_list`.
    """
    return {_list_name(name): load_list(name, content) for name, content in _files(directory) if _is_list(name)}


def load_rule(name: str, content: bytes, lists: Mapping[str, NamedList] = MappingProxyType({})) -> list[Rule]:
    """Read one rule file.

    Args:
        name: Path of the file relative to the directory of rules, for messages and for the name of the rule.
        content: Its bytes.
        lists: Named lists that it may take in.

    Returns:
        The rules in it that fire; more than one only when a correlation lets its base rules fire (`generate`).

    Raises:
        RuleError: See `load_rules`.
    """
    file = parse_file(name, content)
    rules = build_rules(file, lists, nursery=NURSERY in name.split("/")[:-1])
    for rule, document in rules:
        prove(rule, document, file)
    return [rule for rule, _ in rules]


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Give path and content of each file that counts, in the order of their paths."""
    for path in sorted((path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.as_posix()):
        name = path.relative_to(directory).as_posix()
        if path.suffix == ".yaml":
            raise RuleError(f"{name}: rule files end in .yml; rename it to {path.stem}.yml")
        if path.suffix != ".yml":
            continue
        try:
            yield name, path.read_bytes()
        except OSError as error:
            raise RuleError(f"{name}: cannot be read: {error.strerror}; mend its permissions or remove it") from None


def _is_list(name: str) -> bool:
    return name.startswith(f"{LISTS}/")


def _list_name(name: str) -> str:
    return name.removeprefix(f"{LISTS}/").removesuffix(".yml")


def _refuse_duplicates(rules: list[Rule]) -> None:
    ids: dict[str, Rule] = {}
    names: dict[str, Rule] = {}
    for rule in rules:
        first = ids.setdefault(rule.id, rule)
        if first is not rule:
            raise RuleError(f"{rule.path}: id {rule.id} is taken by {first.path}; give this rule an id of its own")
        first = names.setdefault(rule.name, rule)
        if first is not rule:
            raise RuleError(f"{rule.path}: the name {rule.name} is taken by {first.path}; rename one of the files")
