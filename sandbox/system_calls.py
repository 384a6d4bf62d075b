"""What a package may ask of the kernel: reads `system_calls.toml`, which says what each of its tables means."""

from __future__ import annotations

import functools
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables share."""

    name: str
    why: str


class RefusedCalls(_Rule, frozen=True, kw_only=True):
    """Calls that are refused whatever their arguments."""

    answer: Literal["tracer", "kernel"]
    error: str
    calls: tuple[str, ...]


class RefusedArguments(_Rule, frozen=True, kw_only=True):
    """Calls that are refused for the low 32 bits of one argument, in which one of three conditions holds."""

    answer: Literal["signal", "error"]
    calls: tuple[str, ...]
    argument: int
    any_bit_of: int = 0
    one_of: tuple[int, ...] = ()
    none_of: tuple[int, ...] = ()
    mark: str = ""
    error: str = ""
    silent: str = ""


class Foreign(_Rule, frozen=True, kw_only=True):
    """Calls through another interface than that of x86_64."""

    answer: Literal["signal"]
    mark: str


class Unknown(_Rule, frozen=True, kw_only=True):
    """Calls that `numbers` does not name."""

    answer: Literal["error"]
    error: str
    silent: str


class _Numbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of calls whose numbers follow one another."""

    first: int
    names: str


class SystemCalls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    calls: tuple[RefusedCalls, ...]
    arguments: tuple[RefusedArguments, ...]
    foreign: Foreign
    unknown: Unknown
    numbers: tuple[_Numbers, ...]

    @property
    def ranges(self) -> tuple[range, ...]:
        """Numbers of the calls that have a name, in order."""
        return tuple(range(part.first, part.first + len(part.names.split())) for part in self.numbers)

    def named(self) -> Mapping[str, int]:
        """Number of each call that has a name."""
        return MappingProxyType(
            {name: number for part in self.numbers for number, name in enumerate(part.names.split(), part.first)}
        )

    def refused(self, *answers: str) -> Mapping[str, str]:
        """Calls that are refused whatever their arguments, and with what error.

        Args:
            answers: Only those with one of these answers.
        """
        return MappingProxyType(
            {call: rule.error for rule in self.calls if rule.answer in answers for call in rule.calls}
        )


@functools.cache
def system_calls() -> SystemCalls:
    """The profile, as shipped."""
    return msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=SystemCalls)
