"""What is known of a process at a moment: the code that it runs, and for whom."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

INSTALLER: Final = "installer"
BACKEND: Final = "build-backend"
TARGET: Final = "target"
DEPENDENCY: Final = "dependency:"
"""Begins the name of a dependency as an actor."""
UNKNOWN_DEPENDENCY: Final = f"{DEPENDENCY}unknown"


class Code(Enum):
    """What kind of code a process runs."""

    PIP = "pip"
    FORK = "fork"
    """Forked from pip, nothing executed yet: still pip's code."""
    TOOL = "tool"
    DRIVER = "driver"
    COMPILER = "compiler"
    PACKAGE = "package"


class Standing(NamedTuple):
    """What is known of a process at a moment."""

    code: Code
    phase: str
    """The phase it began in."""
    below: str
    """Actor of the package's code in and below this process."""
    nested: bool = False
    """At or below a pip that installs build requirements."""
    linked: bool = False
    """A compiler that has read the loader's cache."""
    untouched: bool = False
    """Begun by a driver or as an interpreter's start, and nothing of the target has come in since: what it does is
    the dependency's of which it has read files."""

    @property
    def actor(self) -> str:
        """Who acts: an actor as events name it."""
        # Asked for each event several times. A set of members of an enumeration takes ten times as long.
        if self.code is Code.PACKAGE:
            return self.below
        return BACKEND if self.code is Code.COMPILER else INSTALLER

    @property
    def is_dependencies_pip(self) -> bool:
        """The pip that installs the dependencies, before anything of the target is there."""
        return self.code is Code.PIP and self.phase == "dependencies" and not self.nested

    def having_read(self, owner: str) -> Standing:
        """The standing of an untouched process that has read a file: of nobody, of a dependency, or of another."""
        if not owner:
            return self
        if not owner.startswith(DEPENDENCY):
            return self._replace(below=TARGET, untouched=False)
        if self.below in {TARGET, owner}:
            return self._replace(below=owner)
        return self._replace(below=UNKNOWN_DEPENDENCY)
