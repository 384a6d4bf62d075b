"""Runs all attempts of the table in one pod, as the modules of one wheel, and sorts what came of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from shlex import split
from typing import TYPE_CHECKING, Any

from collector import timeline
from collector.bundle import Bundle
from collector.events import FileWrite, ProcessStart
from collector.findings import match
from collector.sigma.load import load_rules
from collector.sigma.view import Context
from collector.text import kind_of, render
from sandbox.resources import rules_directory
from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collector.events import AnyEvent
    from collector.manifest import Manifest
    from collector.sigma.rule import RuleSet
    from collector.timeline import Timeline
    from tests.escape.attempt import Attempt
    from tests.escape.host import Host

TOOLS = Path(__file__).with_name("program") / "escape_tools.py"
DISTRIBUTION = "escape_suite"


@dataclass(frozen=True)
class Stage:
    """A run of all attempts, explained."""

    manifest: Manifest
    told: Timeline
    said: Mapping[str, tuple[str, ...]]
    """What each module said of its acts, in order."""
    changes: Sequence[str]
    """What has changed on the machine, in words."""
    rules: RuleSet
    runtime: str
    """`bubblewrap`, `runc` or `runsc`."""
    lost: Sequence[str]
    """The first line of each trace that was not understood; the bundle is gone when a test fails."""

    def events(self, attempt: Attempt) -> list[AnyEvent]:
        """Events of the attempt's process and of those below it, in order of time."""
        marker = f"/tmp/{attempt.module}.begins"
        mine: set[int] = set()
        found = []
        for event in self.told.events:
            if (isinstance(event, FileWrite) and event.path == marker) or (
                isinstance(event, ProcessStart) and event.parent in mine
            ):
                mine.add(event.pid)
            if event.pid in mine:
                found.append(event)
        return found

    def findings(self, events: Sequence[AnyEvent]) -> set[str]:
        """Names of the rules that fire on these events alone."""
        context = Context(self.manifest.home, self.manifest.user, self.told.processes)
        return {finding.name for finding in match(self.rules, events, context)}


def perform(  # noqa: PLR0913, PLR0917 - what a run is made of
    attempts: Iterable[Attempt],
    targets: Mapping[str, Any],
    options: Sequence[str],
    directory: Path,
    become: Sequence[str] = (),
    own: Mapping[str, str] | None = None,
) -> Path:
    """Run a wheel with the attempts as a user would; gives the bundle.

    Args:
        attempts: The rows.
        targets: What the programs aim at.
        options: Of `fumehood run`.
        directory: Gets the wheel; the bundle goes to `bundles` below it.
        become: What stands before the command, to be another user.
        own: Further environment variables.
    """
    files = {attempt.module + ".py": f"from escape_tools import *\n{attempt.code}\n" for attempt in attempts}
    files |= {"escape_tools.py": TOOLS.read_text(), "escape_targets.py": f"TARGETS = {dict(targets)!r}\n"}
    wheel = make_wheel(directory, DISTRIBUTION, files)
    wheel.chmod(0o644)
    program = str(Path(sys.executable).with_name("fumehood"))
    command = [*become, program, "run", "--format", "json", "--quiet", *options, str(wheel)]
    environment = {**os.environ, "FUMEHOOD_BUNDLES": str(directory / "bundles"), **(own or {})}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd="/")
    found = [path for path in (directory / "bundles").iterdir() if path.is_dir()]
    assert len(found) == 1, done.stderr
    return found[0]


def explain(bundle_path: Path, host: Host, runtime: str) -> Stage:
    """Read the bundle of a run of attempts, and look what became of the machine."""
    bundle = Bundle.open(bundle_path)
    printed = bundle.text("output/import.stdout.zst")
    said: dict[str, tuple[str, ...]] = {}
    for line in printed.splitlines():
        if line.startswith("ESCAPE "):
            name, words = json.loads(line.removeprefix("ESCAPE "))
            said[name] = tuple(words)
    changes = host.changes()
    if host.token in printed:
        changes.append("the canary's content came out of the pod")
    told = timeline.build(bundle)
    return Stage(
        manifest=bundle.manifest,
        told=told,
        said=said,
        changes=changes,
        rules=load_rules(rules_directory()),
        runtime=runtime,
        lost=[*_lost(bundle, told)],
    )


def _lost(bundle: Bundle, told: Timeline) -> Iterator[str]:
    for phase in bundle.manifest.phases:
        counts = told.traces.get(phase.name)
        if counts is not None and counts.first_unparsed_line is not None:
            line = next(islice(bundle.lines(phase.trace), counts.first_unparsed_line - 1, None))
            yield f"{phase.trace}:{counts.first_unparsed_line}: {line!r}"


def is_told(pattern: str, events: Iterable[AnyEvent]) -> bool:
    """Whether one of the events is as `KIND FIELD=GLOB ...` says."""
    kind, *fields = split(pattern)
    wanted = [field.partition("=")[::2] for field in fields]
    return any(
        kind_of(event) == kind and all(fnmatchcase(_text(getattr(event, name)), glob) for name, glob in wanted)
        for event in events
    )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def shown(events: Iterable[AnyEvent]) -> str:
    """The events, for the message of a test that fails."""
    return "\n".join(render(event) for event in events)
