"""From the documents of a rule file to rules that can be run: everything but their examples is checked here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from collector.errors import RuleError
from collector.sigma.combine import combine
from collector.sigma.evaluate import compile_rule, fields_in
from collector.sigma.fields import CATEGORIES, category_named, field_names
from collector.sigma.parse import check_names, explanation
from collector.sigma.rule import LEVELS, Rule, Selection

if TYPE_CHECKING:
    from collector.sigma.correlate import Correlation
    from collector.sigma.fields import Category
    from collector.sigma.parse import Document, RuleFile

_TECHNIQUE = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)


def build_rules(file: RuleFile, *, nursery: bool) -> list[tuple[Rule, Document]]:
    """Compile the rules of a file.

    Args:
        file: One rule, or one correlation rule with its base rules.
        nursery: The file is not yet trusted.

    Returns:
        The rules that fire, with the document of each: the rule itself, or the correlation and, where it says
        `generate: true`, its base rules.

    Raises:
        RuleError: See `collector.sigma.load.load_rules`.
    """
    parsed = _parsed(file)
    stem = file.name.rsplit("/", 1)[-1].removesuffix(".yml")
    correlations = [(rule, document) for rule, document in parsed if isinstance(rule, SigmaCorrelationRule)]
    if not correlations:
        if len(parsed) > 1:
            raise file.error("one file holds one rule; move the others to files of their own", parsed[1][1])
        [(rule, document)] = parsed
        return [(_described(rule, document, file, stem, selection(rule, document, file), nursery=nursery), document)]
    if len(correlations) > 1:
        raise file.error("one file holds one correlation; move this one to a file of its own", correlations[1][1])
    [(correlation, document)] = correlations
    bases = [(rule, part) for rule, part in parsed if isinstance(rule, SigmaRule)]
    selections = {id(rule): selection(rule, part, file) for rule, part in bases}
    body = combine(correlation, document, bases, selections, file)
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
        for condition in rule.detection.parsed_condition:
            check_names(file, document, tuple(fields_in(condition.parsed)), valid, f"field of {category.name}")
        return Selection(frozenset(category.kinds), compile_rule(rule))
    except SigmaError as error:
        raise file.error(f"{error}; mend the condition", document, "condition") from None
    except RuleError as error:
        # What is refused for its place already says which; the compiler does not know the place.
        raise error if str(error).startswith(file.name) else file.error(str(error), document, "detection") from None


def _parsed(file: RuleFile) -> list[tuple[SigmaRule | SigmaCorrelationRule, Document]]:
    rules: list[tuple[SigmaRule | SigmaCorrelationRule, Document]] = []
    for document in file.documents:
        kind = SigmaCorrelationRule if "correlation" in document.data else SigmaRule
        try:
            rules.append((kind.from_dict(document.data), document))
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
    techniques = [found[1].upper() for tag in rule.tags if (found := _TECHNIQUE.fullmatch(str(tag)))]
    for tag in rule.tags:
        if str(tag).lower().startswith("attack.t") and _looks_like_technique(str(tag)) and not _TECHNIQUE.fullmatch(str(tag)):
            raise file.error(f"{str(tag)!a} is not a technique; write it like attack.t1552.001", document, "tags")
    if not techniques:
        raise file.error("the rule names no ATT&CK technique; add one to `tags:`, e.g. attack.t1552.001", document, "tags")
    return Rule(
        id=str(rule.id),
        name=name,
        path=file.name,
        title=rule.title,
        level=level,
        attack=tuple(dict.fromkeys(techniques)),
        nursery=nursery,
        description=(rule.description or "").strip(),
        why=explanation(file, document).why.strip(),
        falsepositives=tuple(str(text) for text in rule.falsepositives),
        body=body,
    )
