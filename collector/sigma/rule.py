"""A rule as it is used: what it says about itself, and what it looks for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from collector.sigma.fields import KINDS
from collector.sigma.index import RuleIndex
from collector.sigma.selection import Predicate, Selection

if TYPE_CHECKING:
    from collector.sigma.correlate import Correlation
    from collector.sigma.parse import Example

__all__ = ["LEVELS", "Beacon", "Level", "Predicate", "Rule", "RuleSet", "Selection", "Skipped", "selections_of"]

Level: TypeAlias = Literal["informational", "low", "medium", "high", "critical"]
LEVELS: tuple[Level, ...] = ("critical", "high", "medium", "low", "informational")
"""Gravest first."""
Beacon: TypeAlias = Literal["", "part", "whole"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that can fire."""

    id: str
    """UUID, in lower case."""
    name: str
    """Stem of the file's name; for a base rule that fires by itself `<stem>/<name>`."""
    path: str
    """File, relative to the directory of rules."""
    title: str
    level: Level
    attack: tuple[str, ...]
    """ATT&CK techniques, e.g. `T1552.001`."""
    nursery: bool
    """Not yet trusted to call anything malicious."""
    description: str
    why: str
    """Why this matters, for whoever reads the report."""
    falsepositives: tuple[str, ...]
    body: Selection | Correlation
    normal: str = ""
    """What would have been normal instead; may be empty."""
    beacon: Beacon = ""
    """`whole`: it is a dependency-confusion beacon, facts about the host to an unknown host. `part`: such a beacon does
    this too. When nothing else counts, the report calls the package one."""
    examples: tuple[Example, ...] = ()
    """What its author says that it matches, and does not; none for rules by others."""
    foreign: bool = False
    """Written by others for other systems, and proven by no example here."""


class Skipped(NamedTuple):
    """A rule by others that cannot run here."""

    path: str
    """File, relative to its directory."""
    title: str
    reason: str


@dataclass(frozen=True)
class RuleSet:
    """All rules of a directory, and those by others that were added."""

    rules: tuple[Rule, ...]
    digest: str
    """SHA-256 in hexadecimal over the sorted relative paths and contents of the files."""
    skipped: tuple[Skipped, ...] = ()
    """Rules by others that cannot run here."""

    @cached_property
    def index(self) -> RuleIndex:
        """All selections of the rules, those of a correlation's steps in its place; made once."""
        return RuleIndex([selection for rule in self.rules for selection in selections_of(rule)])

    def prepare(self) -> RuleSet:
        """Arrange beforehand what the first event of each kind would have to wait for, and give the rules themselves.

        It takes as long as the first explanation gains, several times that for kinds that do not come: for rules that
        are loaded while there is time, or in a process that is forked for each run.
        """
        for kind in KINDS:
            selections = self.index.kind(kind)
            selections.plan(selections.numbers, look_up=True)
        return self


def selections_of(rule: Rule) -> tuple[Selection, ...]:
    """Give what a rule looks for in single events: one selection, or that of each step."""
    return (rule.body,) if isinstance(rule.body, Selection) else tuple(step.selection for step in rule.body.steps)
