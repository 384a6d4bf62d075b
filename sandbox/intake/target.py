"""The interpreter that an artefact must fit: which wheels it installs and which requirements it needs."""

from __future__ import annotations

from functools import cached_property

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags

_GLIBC_MINOR = 36
"""Debian 12's C library is 2.36."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


class Target:
    """A CPython on Linux x86_64.

    Args:
        python: Its full version, e.g. `3.11.2`.
    """

    def __init__(self, python: str) -> None:
        self.python = python
        major, minor = python.split(".")[:2]
        self._version = (int(major), int(minor))

    @cached_property
    def ranks(self) -> dict[Tag, int]:
        """Every tag that installs here; the lowest number fits best."""
        platforms = []
        for minor in range(_GLIBC_MINOR, 4, -1):
            platforms.append(f"manylinux_2_{minor}_x86_64")
            if minor in _LEGACY:
                platforms.append(f"{_LEGACY[minor]}_x86_64")
        platforms.append("linux_x86_64")
        interpreter = f"cp{self._version[0]}{self._version[1]}"
        tags = [
            *cpython_tags(self._version, abis=[interpreter], platforms=platforms),
            *compatible_tags(self._version, interpreter=interpreter, platforms=platforms),
        ]
        return {tag: rank for rank, tag in enumerate(dict.fromkeys(tags))}

    def rank(self, tags: frozenset[Tag]) -> int | None:
        """How well a wheel fits (lower is better), or None when it does not."""
        return min((self.ranks[tag] for tag in tags if tag in self.ranks), default=None)

    def accepts(self, requires_python: str) -> bool:
        """Whether a Requires-Python includes this interpreter; one that nobody can read does not count, as in pip."""
        try:
            return SpecifierSet(requires_python).contains(self.python, prereleases=True)
        except InvalidSpecifier:
            return True

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables of dependency markers."""
        return {
            "extra": "",
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": f"{self._version[0]}.{self._version[1]}",
            "sys_platform": "linux",
        }

    def requirement(self, text: str) -> Requirement | None:
        """A requirement whose marker holds here without any extra, else None.

        Raises:
            InvalidRequirement: It is no requirement (an option of pip's, for one).
        """
        try:
            requirement = Requirement(text)
            needed = requirement.marker is None or requirement.marker.evaluate(self.environment)
        except RecursionError as error:  # thousands of nested parentheses in a marker
            raise InvalidRequirement("nested too deeply") from error
        return requirement if needed else None
