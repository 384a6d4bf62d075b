"""What `fumehood config ...` does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import yaml

from sandbox.config.checks import checks
from sandbox.config.load import load_effective
from sandbox.config.secrets import redacted
from sandbox.standard_output import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Form = Literal["text", "json"]

_SIGNS: Final = {"ok": "ok     ", "warning": "warning", "wrong": "WRONG  ", "unusable": "UNUSABLE"}
_CODES: Final = {"ok": 0, "warning": 0, "unusable": 4, "wrong": 2}


def show(file: Path | None, form: Form) -> int:
    """Print what counts."""
    effective = load_effective(os.environ, file)
    values = _redacted(msgspec.to_builtins(effective.configuration, enc_hook=str))
    if form == "json":
        origins = {".".join(path): origin for path, origin in effective.origins.items() if path}
        shown = {"file": effective.file and str(effective.file), "configuration": values, "origins": origins}
        write([msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"])
        return 0
    source = f"{effective.file}, and the environment" if effective.file else "no file; defaults, and the environment"
    lines = (f"# {source}", *_lines(values, (), effective.origins))
    write([("\n".join(lines) + "\n").encode()])
    return 0


def check(file: Path | None, form: Form, *, offline: bool) -> int:
    """Check everything, and say what was found."""
    found = list(checks(load_effective(os.environ, file), os.environ, offline=offline))
    if form == "json":
        write([msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"])
    else:
        write([f"{_SIGNS[it.state]}  {it.subject}: {it.says}\n".encode() for it in found])
    states = {it.state for it in found}
    return next((_CODES[state] for state in ("wrong", "unusable") if state in states), 0)


def _redacted(value: Any) -> Any:  # noqa: ANN401 - what YAML can hold
    match value:
        case str():
            return redacted(value)
        case dict():
            return {key: _redacted(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_redacted(inner) for inner in value]
    return value


def _lines(values: Mapping[str, Any], path: tuple[str, ...], origins: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    indent = "  " * len(path)
    for key, value in values.items():
        place = (*path, key)
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _lines(value, place, origins)
        elif place == ("uploads",):
            yield f"# {key}: {_flow(value)}  # follows from data"
        else:
            # A part that is not there cannot be written as such.
            sign = "# " if value is None else ""
            yield f"{indent}{sign}{key}: {_flow(value)}  # {origins.get(place, 'default')}"


def _flow(value: Any) -> str:  # noqa: ANN401 - what YAML can hold
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
