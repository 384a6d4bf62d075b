"""Rules by others, such as SigmaHQ's for Linux: run as they are, or skipped with the reason.

Nobody's examples prove these rules here, and their authors had other systems in mind. So they are on trial for ever
(see `docs/decisions/0020-rules-by-others.md`): they see what did happen, not what the installer does by itself, and no
finding of theirs makes a verdict `malicious`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from collector.errors import RuleError
from collector.sigma.adapt import adapted
from collector.sigma.combine import Base, combine
from collector.sigma.fields import CATEGORIES, COMMON
from collector.sigma.parse import Document, RuleFile, read_documents
from collector.sigma.regex import POLICY
from collector.sigma.rule import LEVELS, Rule, RuleSet, Skipped
from collector.sigma.taxonomy import logsource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sigma.filters import SigmaFilter

    from collector.sigma.correlate import Correlation
    from collector.sigma.rule import Level, Selection

_ENDINGS: Final = frozenset({".yml", ".yaml"})
_RETIRED: Final = frozenset({"deprecated", "unsupported"})
_TECHNIQUE: Final = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)
_FORM_ERRORS: Final = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
"""pySigma takes the shape of some keys for granted, and that conditions are not nested by the thousand."""
_RULE_KEYS: Final = frozenset({"detection", "correlation", "filter", "action"})


def with_foreign(rules: RuleSet, directories: Iterable[Path]) -> RuleSet:
    """Add the rules that others wrote.

    Args:
        rules: Our own.
        directories: Each with rule files (`*.yml`, `*.yaml`) anywhere below it.

    Returns:
        All rules that can run here, ours first, and those that cannot, with the reason of each. Without directories
        the rules as they are.

    Raises:
        RuleError: A directory holds no rule file, or a file of it cannot be read.
    """
    made, skipped, digest = list(rules.rules), list(rules.skipped), hashlib.sha256(rules.digest.encode())
    names = {rule.name for rule in made}
    for directory in directories:
        loaded = _Directory(directory)
        digest.update(loaded.digest)
        skipped += loaded.skipped
        for rule in loaded.rules:
            if rule.name in names:
                skipped.append(Skipped(rule.path, rule.title, f"there is a rule {rule.name} already"))
                continue
            names.add(rule.name)
            made.append(rule)
    added = len(made) > len(rules.rules) or len(skipped) > len(rules.skipped)
    return RuleSet(tuple(made), digest.hexdigest() if added else rules.digest, tuple(skipped))


class _Directory:
    """The rules of one directory; correlations and filters may refer to rules in other files of it."""

    def __init__(self, directory: Path) -> None:
        self.rules: list[Rule] = []
        self.skipped: list[Skipped] = []
        self._label = directory.resolve().name
        self._places: dict[int, tuple[RuleFile, Document]] = {}
        digest = hashlib.sha256()
        parsed: list[SigmaRule | SigmaCorrelationRule | SigmaFilter] = []
        count = 0
        for name, content in _contents(directory):
            count += 1
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            parsed += self._parse(name, content)
        if not count:
            raise RuleError(f"{directory}: there are no rules below this directory; name one that has *.yml files")
        self.digest = digest.digest()
        self._build(parsed)

    def _skip(self, name: str, title: object, reason: object) -> None:
        # Reasons that name the place begin with the file, which is told anyway.
        reason = re.sub(rf"^{re.escape(name)}:(?:\d+:)? ?", "", str(reason))
        self.skipped.append(Skipped(name, " ".join(str(title or "").split()), " ".join(reason.split())))

    def _parse(self, name: str, content: bytes) -> Iterator[SigmaRule | SigmaCorrelationRule | SigmaFilter]:
        """Read a file with pySigma, which knows about `action: global` and the like."""
        try:
            file = read_documents(name, content)
        except RuleError as error:
            self._skip(name, "", error)
            return
        if not any(_RULE_KEYS & document.data.keys() for document in file.documents):
            self._skip(name, "", "it is not a Sigma rule")
            return
        try:
            collection = SigmaCollection.from_dicts(
                [document.data for document in file.documents],
                collect_errors=True,
                collect_filters=True,
                resolve_references=False,
                policy=POLICY,
            )
        except (SigmaError, *_FORM_ERRORS) as error:
            self._skip(name, file.documents[0].data.get("title"), f"not the form of a Sigma rule: {error}")
            return
        for rule in (*collection.rules, *collection.filters):
            document = next((it for it in file.documents if it.data.get("title") == rule.title), file.documents[0])
            if rule.errors:
                self._skip(name, rule.title or document.data.get("title"), rule.errors[0])
                continue
            self._places[id(rule)] = file, document
            yield rule

    def _build(self, parsed: Sequence[SigmaRule | SigmaCorrelationRule | SigmaFilter]) -> None:
        usable = []
        for rule in parsed:
            if str(rule.status) in _RETIRED:
                self._skip(self._places[id(rule)][0].name, rule.title, f"its author calls it {rule.status}")
            else:
                usable.append(rule)
        # Filters are put into the rules that they name.
        collection = SigmaCollection(usable, resolve_references=False)
        simple = [rule for rule in collection.rules if isinstance(rule, SigmaRule)]
        bases = {id(rule): self._base(rule) for rule in simple}
        for rule in collection.rules:
            if isinstance(rule, SigmaCorrelationRule):
                self._correlate(rule, collection, bases)
        # What a correlation names does not fire by itself, unless that says `generate`.
        fires = {id(rule) for rule in collection.get_output_rules()}
        for rule in simple:
            base, file = bases[id(rule)], self._places[id(rule)][0]
            if isinstance(base, RuleError):
                self._skip(file.name, rule.title, base)
            elif id(rule) in fires:
                self.rules.append(self._made(rule, base.selection, file))

    def _base(self, rule: SigmaRule) -> Base | RuleError:
        """Compile one rule over single events, or say why that cannot be."""
        try:
            source = logsource(rule.logsource, CATEGORIES, COMMON)
            return Base(adapted(rule, source), source.names)
        except SigmaError as error:
            return RuleError(str(error))
        except RuleError as error:
            return error
        except _FORM_ERRORS as error:
            return RuleError(f"not the form of a Sigma rule: {error}")

    def _correlate(
        self, rule: SigmaCorrelationRule, collection: SigmaCollection, bases: Mapping[int, Base | RuleError]
    ) -> None:
        file, document = self._places[id(rule)]
        try:
            rule.resolve_rule_references(collection)
            body = self._combined(rule, document, file, bases)
        except (SigmaError, RuleError, *_FORM_ERRORS) as error:
            self._skip(file.name, rule.title, error)
        else:
            self.rules.append(self._made(rule, body, file))

    def _combined(
        self, rule: SigmaCorrelationRule, document: Document, file: RuleFile, bases: Mapping[int, Base | RuleError]
    ) -> Correlation:
        used: dict[int, Base] = {}
        for reference in rule.referenced_rules:
            base = bases.get(id(reference.rule))
            if isinstance(base, RuleError):
                raise RuleError(f"its base rule {reference.reference!a} cannot run: {base}")
            if base is not None:
                used[id(reference.rule)] = base
        return combine(rule, document, used, file)

    def _made(self, rule: SigmaRule | SigmaCorrelationRule, body: Selection | Correlation, file: RuleFile) -> Rule:
        stem = re.sub(r"\.ya?ml$", "", file.name)
        several = len(file.documents) > 1 and isinstance(rule, SigmaRule)
        number = 1 + sum(made.path == file.name for made in self.rules)
        name = f"{self._label}/{stem}" + (f"/{rule.name or number}" if several else "")
        found = [_TECHNIQUE.fullmatch(str(tag)) for tag in rule.tags]
        return Rule(
            id=str(rule.id or uuid5(NAMESPACE_URL, f"{name}\0{rule.title}")),
            name=name,
            path=file.name,
            title=rule.title,
            level=_level(rule),
            attack=tuple(dict.fromkeys(match[1].upper() for match in found if match)),
            nursery=True,
            description=(rule.description or "").strip(),
            why=(rule.description or "").strip() or rule.title,
            falsepositives=tuple(str(text) for text in rule.falsepositives),
            body=body,
            foreign=True,
        )


def _level(rule: SigmaRule | SigmaCorrelationRule) -> Level:
    """Give the level; what does not rate itself is context."""
    return next((level for level in LEVELS if level == str(rule.level)), "informational")


def _contents(directory: Path) -> Iterator[tuple[str, bytes]]:
    paths = [path for path in directory.rglob("*") if path.suffix in _ENDINGS and path.is_file()]
    for path in sorted(paths, key=lambda path: path.as_posix()):
        name = path.relative_to(directory).as_posix()
        # `.github` and its like hold YAML that is no rule.
        if any(part.startswith(".") for part in name.split("/")):
            continue
        try:
            yield name, path.read_bytes()
        except OSError as error:
            raise RuleError(f"{path}: cannot be read: {error.strerror}; mend its permissions or remove it") from None
