"""Runs a family of emulations once, and tells which of them did what."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from collector import timeline
from collector.bundle import Bundle
from collector.events import FileRead
from collector.findings import Finding, match
from collector.sigma.load import load_rule, load_rules
from collector.sigma.rule import RuleSet
from collector.sigma.view import Context
from tests.packages import build

if TYPE_CHECKING:
    from collector.events import AnyEvent

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "profiles" / "rules"


class Observed(msgspec.Struct, frozen=True):
    """What a run of a family's package saw."""

    report: dict[str, Any]
    told: timeline.Timeline
    context: Context

    def events_of(self, emulation: build.Emulation) -> list[AnyEvent]:
        """The events of one emulation: of the processes that loaded its module in its phase, and of all below them."""
        loads = re.compile(rf"(.*/)?{re.escape(emulation.name)}([.]cpython-[0-9]+)?[.]pyc?")
        phase = build.PHASES[emulation.at]
        roots = {
            event.pid
            for event in self.told.events
            if isinstance(event, FileRead) and event.phase == phase and not event.errno and loads.fullmatch(event.path)
            if event.actor != "installer"
        }
        return [event for event in self.told.events if event.pid and self._below(event, roots)]

    def findings(self, emulation: build.Emulation, rules: RuleSet) -> tuple[Finding, ...]:
        """What the rules say to the events of one emulation alone."""
        return match(rules, self.events_of(emulation), self.context)

    def _below(self, event: AnyEvent, roots: set[int]) -> bool:
        above = (process.pid for process in self.told.processes.ancestors(event.pid, event.ts or None))
        return event.pid in roots or not roots.isdisjoint(above)


@cache
def shipped_rules() -> RuleSet:
    """The rules as they are shipped."""
    return load_rules(RULES)


def rules_for(emulation: build.Emulation) -> RuleSet:
    """The rules, with the one value added that the emulation asks for."""
    rules = shipped_rules()
    if emulation.extend is None:
        return rules
    (rule,) = (rule for rule in rules.rules if rule.name == emulation.rule)
    documents = list(yaml.safe_load_all((RULES / rule.path).read_text(encoding="utf-8")))
    lists = [
        document["detection"][emulation.extend.selection]
        for document in documents
        if emulation.extend.selection in document.get("detection", {})
    ]
    assert len(lists) == 1, f"{rule.path} has no selection {emulation.extend.selection}"
    lists[0][emulation.extend.field].append(emulation.extend.value)
    (extended,) = load_rule(rule.path, yaml.safe_dump_all(documents).encode())
    return RuleSet(tuple(extended if it is rule else it for it in rules.rules), rules.digest)


def run(family: str, side: build.Side, directory: Path) -> Observed:
    """Run a family's package, or its twin, in a bubblewrap pod.

    Args:
        family: One of `build.families()`.
        side: Which of the two.
        directory: For the package, the profile and the bundle.

    Returns:
        What was seen.
    """
    profile = directory / "short.yaml"
    shape = yaml.safe_load((ROOT / "profiles" / "pypi.yaml").read_text(encoding="utf-8"))
    shape["phases"]["linger"]["seconds"] = 2
    # A busy machine is no reason for a phase to be cut.
    shape["phases"]["startup"]["seconds"] = 240
    for name in ("import", "exercise"):
        shape["phases"][name] |= {"seconds": 1200, "each": 240}
    profile.write_text(yaml.safe_dump(shape, sort_keys=False), encoding="utf-8")
    bundles = directory / f"{family}-{side}"
    command = [Path(sys.executable).with_name("fumehood"), "run", "--pod", "bubblewrap", "--format", "json", "--quiet"]
    package = build.build(family, side, directory)
    done = subprocess.run(
        [*command, "--profile", profile, "--fail-on", "never", package],
        check=False,
        capture_output=True,
        env={**os.environ, "FUMEHOOD_BUNDLES": str(bundles)},
        cwd=directory,
    )
    assert done.stdout, done.stderr.decode()
    report = json.loads(done.stdout)
    ran = {phase["name"]: phase["status"] for phase in report["phases"]}
    assert {ran[phase] for phase in build.PHASES.values()} == {"completed"}, report["reasons"]
    (path,) = (path for path in bundles.iterdir() if path.is_dir())
    bundle = Bundle.open(path)
    told = timeline.build(bundle)
    context = Context(home=bundle.manifest.home, user=bundle.manifest.user, processes=told.processes)
    return Observed(report, told, context)
