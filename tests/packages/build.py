"""Builds the emulations of the catalogue: of each family two sdists, one that misbehaves and its benign twin.

    python -m tests.packages.build --output DIR [FAMILY ...]

The tables in `catalogue/` hold a few lines of code for each rule. All of a family go into one package, each into a
process of its own, so that what they do can be told apart. Outside a fumehood pod their code does nothing.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from tests.samples.build import VERSION, sdist, wheel

HERE: Final = Path(__file__).resolve().parent
MARKER: Final = "/opt/fumehood/pip_launcher.py"
Moment: TypeAlias = Literal["build", "start", "import", "command"]
Side: TypeAlias = Literal["attack", "twin"]
SIDES: Final[tuple[Side, ...]] = get_args(Side)
PHASES: Final[dict[Moment, str]] = {
    "build": "install",
    "start": "startup",
    "import": "import",
    "command": "exercise",
}
"""The phase of a run in which an emulation acts."""


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that the test adds to a rule's list, since the list itself names real hosts."""

    selection: str
    field: str
    """With its modifiers, as the rule writes it."""
    value: str


class Emulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the catalogue: what must fire a rule, and what is like it and must not."""

    rule: str
    attack: str
    """Python: the behaviour without harm."""
    twin: str
    """Python: the same kind of calls for an honest purpose."""
    because: str
    """Why the twin is benign."""
    at: Moment = "import"
    variant: str = ""
    """Tells rows of one rule apart."""
    extend: Extension | None = None

    @property
    def name(self) -> str:
        """Name of its module."""
        return "_".join(filter(None, (self.rule, self.variant))).replace("-", "_")


def families() -> tuple[str, ...]:
    """Give the names of the tables."""
    return tuple(sorted(path.stem for path in (HERE / "catalogue").glob("*.yaml")))


def emulations(family: str) -> tuple[Emulation, ...]:
    """Read one table."""
    content = (HERE / "catalogue" / f"{family}.yaml").read_bytes()
    return msgspec.yaml.decode(content, type=tuple[Emulation, ...])


def title(family: str, side: Side) -> str:
    """Give the name of a family's distribution, which is also that of its package."""
    return f"emulated_{family}" + ("_twin" if side == "twin" else "")


def module(emulation: Emulation, family: str, side: Side) -> str:
    """Give the source of an emulation, or of its twin, as it stands in a package."""
    body = textwrap.indent((emulation.attack if side == "attack" else emulation.twin).strip(), "    ")
    parent = "" if emulation.at == "build" else f"{title(family, side)}."
    pod = f'os.path.isfile("{MARKER}")'
    if emulation.at == "command":
        ending, body = "", f"    if not {pod}:\n        return\n{body}"
    elif emulation.at == "import":
        ending = f"\n\nif {pod}:\n    act()\n"
    else:
        ending = f'\n\nif {pod} and __name__ == "<run_path>":\n    act()\n'
    what = "emulation" if side == "attack" else "benign twin of the emulation"
    return (
        f'"""Inert {what} for the rule {emulation.rule}: it acts only in a fumehood pod."""\n\nimport os\n\n'
        f"from {parent}emulated_kit import *\n\n\ndef act():\n{body}\n{ending}"
    )


def build(family: str, side: Side, directory: Path) -> Path:
    """Build the package of a family, or its twin.

    Args:
        family: One of `families()`.
        side: Which of the two.
        directory: Where the sdist is written; it must exist.

    Returns:
        Path of the sdist.
    """
    name = title(family, side)
    archive = f"{name}-{VERSION}-py3-none-any.whl"
    rows = emulations(family)
    source = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": _program("backend").replace("@WHEEL@", archive),
        "emulated_kit.py": _program("kit"),
        **{f"build_time/{row.name}.py": module(row, family, side) for row in rows if row.at == "build"},
    }
    installed = {
        f"{name}/__init__.py": "",
        f"{name}/emulated_kit.py": _program("kit"),
        **{f"{name}/at_{row.at}/{row.name}.py": module(row, family, side) for row in rows if row.at != "build"},
    }
    installed |= {f"{name}/at_{row.at}/__init__.py": "" for row in rows if row.at != "build"}
    if any(row.at == "start" for row in rows):
        installed[f"{name}_start.py"] = _program("start").replace("@TITLE@", name)
        installed[f"{name}.pth"] = f"import {name}_start\n"
    commands = [f"emulated-{row.name} = {name}.at_command.{row.name}:act" for row in rows if row.at == "command"]
    entry_points = "\n".join(["[console_scripts]", *commands, ""]) if commands else ""
    content = {path: text.encode() for path, text in source.items()}
    content[archive] = wheel(name, {path: text.encode() for path, text in installed.items()}, entry_points)
    path = directory / f"{name}-{VERSION}.tar.gz"
    path.write_bytes(sdist(name, content))
    return path


def _program(name: str) -> str:
    return (HERE / "program" / f"emulated_{name}.py").read_text(encoding="utf-8")


def main() -> None:
    """Build the families that the command line names, or all of them, and print their paths."""
    parser = argparse.ArgumentParser(description="Build the inert packages that the rules are tried on.")
    parser.add_argument("--output", type=Path, required=True, help="directory for the sdists; made when absent")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="tables to build; all when none is named")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.families) - set(families()))
    if unknown:
        parser.error(f"there is no family {unknown[0]!r}; there are {', '.join(families())}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for family in arguments.families or families():
        for side in SIDES:
            sys.stdout.write(f"{build(family, side, arguments.output)}\n")


if __name__ == "__main__":
    main()
