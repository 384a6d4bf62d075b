"""From the documents of a rule file to rules that can be run: everything but their examples is checked here."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from uuid import UUID

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRegularExpressionError
from sigma.rule import SigmaRule

from collector.errors import RuleError
from collector.sigma.combine import Base, combine
from collector.sigma.evaluate import compile_trees, condition_trees
from collector.sigma.fields import CATEGORIES, category_named, field_names
from collector.sigma.lists import fill_in
from collector.sigma.parse import check_names, explanation
from collector.sigma.plan import fields_in
from collector.sigma.regex import POLICY
from collector.sigma.rule import LEVELS, Rule, Selection
from collector.sigma.written import Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.sigma.correlate import Correlation
    from collector.sigma.lists import NamedList
    from collector.sigma.parse import Document, RuleFile
    from collector.sigma.schema import Category

_TECHNIQUE = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)
_NEARLY = re.compile(r"attack\.t?\d.*", re.IGNORECASE)
"""A tag with a number in it that means to be a technique (the others name tactics, groups, software)."""
_WORD = re.compile(r"[\w*-]+")


def build_rules(file: RuleFile, lists: Mapping[str, NamedList], *, nursery: bool) -> list[tuple[Rule, Document]]:
    """Compile the rules of a file.

    Args:
        file: One rule, or one correlation rule with its base rules.
        lists: Named lists that it may take in.
        nursery: The file is not yet trusted.

    Returns:
        The rules that fire, with the document of each: the rule itself, or the correlation and, where it says
        `generate: true`, its base rules.

    Raises:
        RuleError: See `collector.sigma.load.load_rules`.
    """
    parsed = _parsed(file)
    for rule, document in parsed:
        if isinstance(rule, SigmaRule):
            fill_in(rule, lists, document, file)
    stem = file.name.rsplit("/", 1)[-1].removesuffix(".yml")
    correlations = [(rule, document) for rule, document in parsed if isinstance(rule, SigmaCorrelationRule)]
    bases = [(rule, document) for rule, document in parsed if isinstance(rule, SigmaRule)]
    if len(correlations) > 1:
        raise file.error("one file holds one correlation; move this one to a file of its own", correlations[1][1])
    if not correlations and len(bases) > 1:
        raise file.error("one file holds one rule; move this one to a file of its own", bases[1][1])
    selections = {id(rule): selection(rule, document, file) for rule, document in bases}
    if not correlations:
        [(base, document)] = bases
        return [(_described(base, document, file, stem, selections[id(base)], nursery=nursery), document)]
    [(correlation, document)] = correlations
    names = {id(rule): field_names(_category(rule, part, file)) for rule, part in bases}
    steps = {key: Base(body, {name: name for name in names[key]}) for key, body in selections.items()}
    body = combine(correlation, document, steps, file)
    built = [(_described(correlation, document, file, stem, body, nursery=nursery), document)]
    if correlation.generate:
        for number, (rule, part) in enumerate(bases, 1):
            name = f"{stem}/{rule.name or number}"
            built.append((_described(rule, part, file, name, selections[id(rule)], nursery=nursery), part))
    return built


def selection(rule: SigmaRule, document: Document, file: RuleFile) -> Selection:
    """Compile a rule over single events.

    Args:
        rule: The rule as pySigma has it.
        document: Where it stands.
        file: The file of that.

    Returns:
        What it looks for.

    Raises:
        RuleError: Its logsource or a field does not exist, a selection is not used, or it cannot be evaluated.
    """
    category = _category(rule, document, file)
    _check_selections(rule, document, file)
    valid = field_names(category)
    try:
        trees = condition_trees(rule)
        fields = [name for tree in trees for name in fields_in(tree)]
        check_names(file, document, fields, valid, what=f"field of {category.name}")
        made = compile_trees(trees, category.kinds)
    except SigmaError as error:
        raise file.error(f"{error}; mend the condition", document, "condition") from None
    except RuleError as error:
        # What is refused for its place already says which; the compiler does not know the place.
        raise error if str(error).startswith(file.name) else file.error(str(error), document, "detection") from None
    return replace(made, written=Written(category.name, rule, trees))


def _category(rule: SigmaRule, document: Document, file: RuleFile) -> Category:
    source = rule.logsource
    if source.product not in (None, "linux") or source.service is not None:
        raise file.error(
            "events are of `product: linux` and have no service; mend the logsource", document, "logsource"
        )
    names = [category.name for category in CATEGORIES]
    if source.category is None:
        raise file.error(f"the logsource has no category; add one of {', '.join(names)}", document, "logsource")
    check_names(file, document, (source.category,), names, what="category")
    category = category_named(source.category)
    if category is None:
        raise file.error(f"unknown category {source.category!a}", document, "logsource")
    return category


def _check_selections(rule: SigmaRule, document: Document, file: RuleFile) -> None:
    """Refuse selections that no condition names: they look as if they did something."""
    words = {word for condition in rule.detection.condition for word in _WORD.findall(str(condition))}
    for name in rule.detection.detections:
        if name in words or ("them" in words and not name.startswith("_")):
            continue
        if not any("*" in word and fnmatchcase(name, word) for word in words):
            raise file.error(f"selection {name!a} is not used; name it in the condition or remove it", document, name)


def _techniques(rule: SigmaRule | SigmaCorrelationRule, document: Document, file: RuleFile) -> tuple[str, ...]:
    techniques: dict[str, None] = {}
    for tag in map(str, rule.tags):
        if found := _TECHNIQUE.fullmatch(tag):
            techniques[found[1].upper()] = None
        elif _NEARLY.fullmatch(tag):
            raise file.error(f"{tag!a} is not a technique; write it like attack.t1552.001", document, "tags")
    if not techniques:
        raise file.error("no ATT&CK technique is named; add one to `tags:`, e.g. attack.t1552.001", document, "tags")
    return tuple(techniques)


def _parsed(file: RuleFile) -> list[tuple[SigmaRule | SigmaCorrelationRule, Document]]:
    rules: list[tuple[SigmaRule | SigmaCorrelationRule, Document]] = []
    for document in file.documents:
        kind = SigmaCorrelationRule if "correlation" in document.data else SigmaRule
        try:
            rules.append((kind.from_dict(document.data, policy=POLICY), document))
        except SigmaRegularExpressionError as error:
            # Regular expressions are RE2's: linear in the hostile string, hence without lookaround and references.
            advice = "say what lookaround says with another selection and `not`"
            raise file.error(f"{error}; {advice}", document, "detection") from None
        except SigmaError as error:
            raise file.error(f"{error}; see docs/rules.md for the form of a rule", document) from None
        except (AttributeError, KeyError, TypeError) as error:
            # pySigma takes the shape of some keys for granted.
            raise file.error(f"not the form of a Sigma rule: {error}; see docs/rules.md", document) from None
    try:
        SigmaCollection([rule for rule, _ in rules])
    except SigmaError as error:
        raise file.error(f"{error}; give each base rule a `name` and list those in `rules`") from None
    return rules


def _described(  # noqa: PLR0913 - a rule is made of many things
    rule: SigmaRule | SigmaCorrelationRule,
    document: Document,
    file: RuleFile,
    name: str,
    body: Selection | Correlation,
    *,
    nursery: bool,
) -> Rule:
    if not isinstance(rule.id, UUID):
        raise file.error("the rule has no id; add `id:` with a UUID of its own, e.g. from `uuidgen`", document)
    level = next((level for level in LEVELS if level == str(rule.level)), None)
    if level is None:
        raise file.error(f"the rule has no level; add `level:` with one of {', '.join(LEVELS)}", document)
    told = explanation(file, document)
    return Rule(
        id=str(rule.id),
        name=name,
        path=file.name,
        title=rule.title,
        level=level,
        attack=_techniques(rule, document, file),
        nursery=nursery,
        description=(rule.description or "").strip(),
        why=told.why.strip(),
        falsepositives=tuple(str(text) for text in rule.falsepositives),
        body=body,
        normal=told.normal.strip(),
        beacon=told.beacon,
        examples=told.examples,
    )
