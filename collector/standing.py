"""What is known of a process at a moment: the code that it runs, and for whom."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

INSTALLER: Final = "installer"
BACKEND: Final = "build-backend"
TARGET: Final = "target"
DEPENDENCY: Final = "dependency:"
"""Begins the name of a dependency as an actor."""
UNKNOWN_DEPENDENCY: Final = f"{DEPENDENCY}unknown"


Code: TypeAlias = Literal["pip", "fork", "tool", "driver", "compiler", "package"]
"""What kind of code a process runs; `fork`: forked from pip, nothing executed yet, still pip's code. Words, since it is
asked for each event several times, and a member of an enumeration takes five times as long."""


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
        if self.code == "package":
            return self.below
        return BACKEND if self.code == "compiler" else INSTALLER

    @property
    def is_dependencies_pip(self) -> bool:
        """The pip that installs the dependencies, before anything of the target is there."""
        return self.code == "pip" and self.phase == "dependencies" and not self.nested

    def having_read(self, owner: str) -> Standing:
        """The standing of an untouched process that has read a file: of nobody, of a dependency, or of another."""
        if not owner:
            return self
        if not owner.startswith(DEPENDENCY):
            return self._replace(below=TARGET, untouched=False)
        if self.below in {TARGET, owner}:
            return self._replace(below=owner)
        return self._replace(below=UNKNOWN_DEPENDENCY)
