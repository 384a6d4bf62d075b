"""What an attempt to escape is: a program, what it may say, and where it must be told of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Runtime: TypeAlias = Literal["bubblewrap", "runc", "runsc"]
REFUSED = r"E[A-Z0-9]+|SIGSYS"
"""The name of an error, or the signal with which the kernel ends a process whose call the filter forbids."""


@dataclass(frozen=True, kw_only=True)
class Differs:
    """What is different in one runtime by its design. None keeps what the attempt says."""

    why: str
    word: str | None = None
    told: str | None = None
    finding: str | None = None
    unseen: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One row of the table."""

    name: str
    tries: str
    """What it is after, for whoever reads the table."""
    code: str
    """Body of its module. `escape_tools` is imported with `*`; calls `attempt` once."""
    word: str = REFUSED
    """Regular expression that what each act says must match as a whole."""
    told: str = ""
    """Event of the attempt: `KIND FIELD=GLOB ...`; empty when none is expected."""
    finding: str = ""
    """Name of a rule that fires on the attempt's own events."""
    unseen: str = ""
    """Why nothing is told of it, where that is so by design."""
    differs: Mapping[Runtime, Differs] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a row that leaves open whether the attempt is reported."""
        for row in (self, *(self.in_runtime(runtime) for runtime in self.differs)):
            if bool(row.told) == bool(row.unseen):
                raise ValueError(f"{self.name}: say either what is told of it, or why nothing is")
        re.compile(self.word)

    @property
    def module(self) -> str:
        """Name of its module in the wheel."""
        return "escape_" + self.name.replace("-", "_")

    def in_runtime(self, runtime: str) -> Attempt:
        """The row as it holds in one runtime."""
        differs = {str(key): value for key, value in self.differs.items()}.get(runtime)
        if differs is None:
            return self
        changed = {
            name: value
            for name in ("word", "told", "finding", "unseen")
            if (value := getattr(differs, name)) is not None
        }
        same = {name: getattr(self, name) for name in ("name", "tries", "code", "word", "told", "finding", "unseen")}
        return Attempt(**{**same, **changed})
