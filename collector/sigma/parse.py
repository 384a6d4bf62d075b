"""A rule file as data: YAML documents whose keys are known, with the places for error messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from sigma.rule.base import SigmaYAMLLoader

from collector.errors import RuleError
from collector.sigma.rule import Beacon

if TYPE_CHECKING:
    from collections.abc import Collection

KEYS = frozenset(
    {
        "author", "correlation", "date", "description", "detection", "falsepositives", "fields", "fumehood", "id",
        "level", "license", "logsource", "modified", "name", "references", "related", "scope", "status", "tags",
        "taxonomy", "title",
    }
)  # fmt: skip
CORRELATION_KEYS = frozenset({"aliases", "condition", "generate", "group-by", "rules", "timespan", "type"})


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events that a rule must, or must not, fire on."""

    name: str
    match: bool
    events: tuple[str, ...]
    """Events in text form."""
    interval: float = 0.01
    """Seconds from one event to the next."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands under `fumehood:` in a rule."""

    why: str
    examples: tuple[Example, ...]
    normal: str = ""
    """What would have been normal instead."""
    beacon: Beacon = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document of a rule file."""

    data: dict[str, Any]
    line: int
    """Where it begins, from 1."""

    @property
    def label(self) -> str:
        """How messages call it."""
        title = self.data.get("name") or self.data.get("title")
        return f"{title!a:.60}" if title else "the rule"


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule file, parsed."""

    name: str
    text: str
    documents: tuple[Document, ...]

    def error(self, message: str, document: Document | None = None, word: str | None = None) -> RuleError:
        """Make an error that says where.

        Args:
            message: What is wrong and what to do.
            document: The document it is about.
            word: A key of it that the line number shall point to.

        Returns:
            The error, to raise.
        """
        line = document.line if document is not None else 0
        if document is not None and word is not None:
            line = self._line_of(word, document.line) or line
        return RuleError(f"{self.name}:{line}: {message}" if line else f"{self.name}: {message}")

    def _line_of(self, word: str, first: int) -> int:
        key = re.compile(rf"\s*(?:-\s+)*['\"]?{re.escape(word)}['\"]?\s*(?:\|[\w|]+['\"]?)?:")
        for number, line in enumerate(self.text.splitlines(), 1):
            if number >= first and key.match(line):
                return number
        return 0


def parse_file(name: str, content: bytes) -> RuleFile:
    """Read the documents of a rule file.

    Args:
        name: Path of the file, for messages.
        content: Its bytes.

    Returns:
        The documents; none of their keys is unknown.

    Raises:
        RuleError: It is not YAML, not a mapping, or has an unknown key.
    """
    file = read_documents(name, content)
    for document in file.documents:
        _check_keys(file, document)
    return file


def read_documents(name: str, content: bytes) -> RuleFile:
    """Read a YAML file of mappings, whatever their keys.

    Args:
        name: Path of the file, for messages.
        content: Its bytes.

    Returns:
        The documents, at least one.

    Raises:
        RuleError: It is not UTF-8, not YAML, empty, or has a document that is not a mapping.
    """
    try:
        text = content.decode()
        documents = _documents(text)
    except UnicodeDecodeError as error:
        raise RuleError(f"{name}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RuleError(f"{name}:{line}: not YAML: {error.problem}; mend the line") from None
    except (yaml.YAMLError, ValueError) as error:
        raise RuleError(f"{name}: not YAML: {error}; mend the file") from None
    file = RuleFile(name, text, documents)
    if not documents:
        raise file.error("the file is empty; write a rule or remove it")
    return file


def explanation(file: RuleFile, document: Document) -> Explanation:
    """Read what stands under `fumehood:`.

    Args:
        file: The file.
        document: A rule of it that fires.

    Returns:
        Why the rule is there, and its examples: at least one that matches and one near miss.

    Raises:
        RuleError: Something is missing or unknown.
    """
    block = document.data.get("fumehood")
    if not isinstance(block, dict) or not str(block.get("why") or "").strip():
        raise file.error("the rule must say why it matters; add `fumehood:` with `why:`", document, "fumehood")
    check_names(file, document, block, Explanation.__struct_fields__, what="key of fumehood")
    try:
        told = msgspec.convert(block, Explanation)
    except msgspec.ValidationError as error:
        raise file.error(f"fumehood: {error}; see docs/rules.md for its form", document, "fumehood") from None
    if not any(example.match for example in told.examples):
        raise file.error("add an example with `match: true` under fumehood", document, "examples")
    if all(example.match for example in told.examples):
        raise file.error("add a near miss, an example with `match: false`, under fumehood", document, "examples")
    return told


def check_names(
    file: RuleFile, document: Document, given: Collection[Any], valid: Collection[str], *, what: str
) -> None:
    """Refuse names that do not exist.

    Args:
        file: The file.
        document: The document of it.
        given: Names used.
        valid: Names that exist.
        what: What they name.

    Raises:
        RuleError: A name is not valid; the message names the nearest that is.
    """
    for name in given:
        if name in valid:
            continue
        near = get_close_matches(str(name), valid, n=1) or [
            candidate for candidate in valid if candidate.lower() == str(name).lower()
        ]
        advice = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(valid))}"
        raise file.error(f"unknown {what} {str(name)!a:.60}; {advice}", document, str(name))


def _documents(text: str) -> tuple[Document, ...]:
    loader = SigmaYAMLLoader(text)
    try:
        documents = []
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                break
            data = loader.construct_document(node)
            if not isinstance(data, dict):
                raise yaml.YAMLError(f"line {node.start_mark.line + 1} begins a document that is not a mapping")
            documents.append(Document(data, node.start_mark.line + 1))
        return tuple(documents)
    finally:
        loader.dispose()


def _check_keys(file: RuleFile, document: Document) -> None:
    check_names(file, document, document.data, KEYS, what="key")
    correlation = document.data.get("correlation")
    if isinstance(correlation, dict):
        check_names(file, document, correlation, CORRELATION_KEYS, what="key of correlation")
