"""Named lists: values that several rules share, most often what they leave alone, each with its reason and a near miss.

A rule takes a list in with `Field|expand: '%name%'`. A list says what is let off, so every entry has to show what it
does *not* let off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from sigma.rule import SigmaDetection
from sigma.types import Placeholder, SigmaCasedString, SigmaRegularExpression, SigmaString

from collector.sigma.parse import check_names, read_documents
from collector.sigma.strings import any_of, glob_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sigma.rule import SigmaDetectionItem, SigmaRule
    from sigma.types import SigmaType

    from collector.sigma.parse import Document, RuleFile

LISTS: Final = "lists"
"""Name of the directory, right below that of the rules, whose files are lists."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of a list."""

    value: str
    """A Sigma string: compared whole, `*` and `?` are wildcards."""
    reason: str
    near_miss: str
    """Something alike that no entry of the list may match."""
    example: str = ""
    """Something that the value matches; needed when it has wildcards."""


class NamedList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file of lists says."""

    title: str
    description: str
    entries: tuple[Entry, ...]


def load_list(name: str, content: bytes) -> NamedList:
    """Read a list.

    Args:
        name: Path of the file, for messages.
        content: Its bytes: one YAML document with the fields of `NamedList`.

    Returns:
        The list.

    Raises:
        RuleError: It is not of that form, an entry has no reason, or an example or a near miss does not hold.
    """
    file = read_documents(name, content)
    if len(file.documents) != 1:
        raise file.error("a list is one YAML document; move the others to files of their own")
    [document] = file.documents
    check_names(file, document, document.data, NamedList.__struct_fields__, what="key of a list")
    try:
        made = msgspec.convert(document.data, NamedList)
    except msgspec.ValidationError as error:
        raise file.error(f"{error}; see docs/rules.md for the form of a list", document, "entries") from None
    if not made.entries:
        raise file.error("the list is empty; add an entry or remove the file", document, "entries")
    _prove(made, file, document)
    return made


def _prove(made: NamedList, file: RuleFile, document: Document) -> None:
    values = [SigmaString(entry.value) for entry in made.entries]
    if twice := next((str(value) for place, value in enumerate(values) if value in values[:place]), None):
        raise file.error(f"{twice!a} stands twice; remove one", document, "entries")
    matches = any_of([glob_of(value, cased=False) for value in values])
    for entry, value in zip(made.entries, values, strict=True):
        if not entry.reason.strip() or not entry.near_miss.strip():
            raise file.error(f"entry {entry.value!a} needs a reason and a near_miss", document, "entries")
        if matches(entry.near_miss.lower()):
            raise file.error(f"near_miss {entry.near_miss!a} is in the list; narrow it", document, "entries")
        if value.contains_special() and not entry.example:
            raise file.error(f"entry {entry.value!a} has wildcards; add an `example` it matches", document, "entries")
        if entry.example and not any_of([glob_of(value, cased=False)])(entry.example.lower()):
            raise file.error(f"example {entry.example!a} does not match {entry.value!a}", document, "entries")


def fill_in(rule: SigmaRule, lists: Mapping[str, NamedList], document: Document, file: RuleFile) -> None:
    """Put the entries of lists in the place of `%name%` in values with the modifier `expand`.

    Args:
        rule: A rule whose conditions have not been parsed yet; it is changed.
        lists: By name.
        document: Where the rule stands.
        file: The file of that.

    Raises:
        RuleError: There is no such list, or it is used in a way for which its near misses prove nothing.
    """
    for detection in rule.detection.detections.values():
        for item in items_of(detection):
            if not any(_holds_placeholder(value) for value in item.value):
                continue
            # With `all` every entry would have to match, and any modifier besides would widen what was proven.
            if sorted(it.__name__ for it in item.modifiers) not in _PROVEN:
                raise file.error(
                    f"{item.field}: a list goes with `expand`, `cased` and `neq` alone; put wildcards into the list",
                    document,
                    f"{item.field}",
                )
            item.value = [entry for value in item.value for entry in _entries(value, lists, document, file)]


_PROVEN: Final = (
    ["SigmaExpandModifier"],
    ["SigmaCaseSensitiveModifier", "SigmaExpandModifier"],
    ["SigmaExpandModifier", "SigmaNegateModifier"],
    ["SigmaCaseSensitiveModifier", "SigmaExpandModifier", "SigmaNegateModifier"],
)


def items_of(detection: SigmaDetection) -> Iterator[SigmaDetectionItem]:
    """Give the field tests (and keywords) of a selection, nested ones too."""
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            yield from items_of(item)
        else:
            yield item


def _holds_placeholder(value: SigmaType) -> bool:
    return isinstance(value, (SigmaString, SigmaRegularExpression)) and value.contains_placeholder()


def _entries(
    value: SigmaType, lists: Mapping[str, NamedList], document: Document, file: RuleFile
) -> Iterator[SigmaType]:
    if not isinstance(value, SigmaString) or not value.contains_placeholder():
        yield value
        return
    match value.s:
        case (Placeholder() as placeholder,):
            pass
        case _:
            raise file.error(f"{str(value)!a}: a list stands alone; write '%name%'", document, "detection")
    check_names(file, document, (placeholder.name,), lists, what="list")
    for entry in lists[placeholder.name].entries:
        string = SigmaString(entry.value)
        yield SigmaCasedString.from_sigma_string(string) if isinstance(value, SigmaCasedString) else string
