"""A rule over single events as its author wrote it, kept beside what it was compiled to, to explain and to judge it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from sigma.rule import SigmaRule


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in the file."""

    logsource: str
    rule: SigmaRule
    """As pySigma has it, fields named as they are inside."""
    trees: tuple[object, ...]
    """Its condition trees, of which any may hold."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Its conditions."""
        return tuple(map(str, self.rule.detection.condition))

    @property
    def parts(self) -> dict[str, object]:
        """By the name of each selection, its condition tree."""
        detections = self.rule.detection
        return {name: part.postprocess(detections) for name, part in detections.detections.items()}

    def text(self, name: str) -> str:
        """Give a selection as YAML."""
        plain = self.rule.detection.detections[name].to_plain()
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100).removesuffix("...\n").strip()
