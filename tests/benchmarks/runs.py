"""Runs that never were: rows as a year of sweeps would leave them."""

from __future__ import annotations

import hashlib
import random
from itertools import count
from typing import Any, Final

from collector.store.labels import KNOWN_GOOD
from collector.store.rows import RunRows
from sandbox.submissions.identifiers import new
from sandbox.submissions.model import Request
from sandbox.submissions.submit import _row, identity

BEGIN: Final = 1_770_000_000.0
"""When the first run began; each begins a second after the one before."""
COMMON_RULE: Final = "usual-thing"
RARE_RULE: Final = "rare-thing"
_PROFILE, _RULES = "a" * 64, "b" * 64
_PACKAGES: Final = 30_000
_GOOD_EVERY: Final = 20


class Invented:
    """Makes rows, and knows what there is to look for. The same each time."""

    def __init__(self) -> None:
        self.made = 0
        """How many runs."""
        self._chance = random.Random(3)  # noqa: S311
        self._numbers = count()
        self._submissions: list[str] = []

    def run(self) -> RunRows:
        """The next run."""
        made = self._run(self.made)
        self.made += 1
        return made

    def finished(self) -> RunRows:
        """A run of now, not counted."""
        return self._run(10_000_000 + self.number())

    def number(self) -> int:
        """A number that was not there before."""
        return next(self._numbers)

    def submission(self, of: RunRows) -> dict[str, Any]:
        """The row of the submission that led to a run."""
        run = of.run
        request = Request(
            package=run["purl"], profile="pypi", profile_sha256=_PROFILE, rules_sha256=_RULES, lane="sweep"
        )
        same, name = identity(request), new(run["created"])
        self._submissions.append(name)
        return _row(request, same, run["created"]) | {
            "id": name,
            "state": "done",
            "standing": f"{same[:32]}{run['run']:0>32}" if len(self._submissions) > _PACKAGES else same,
            "attempt": 1,
            "ended": run["created"],
            "sha256": run["sha256"],
            "run": run["run"],
            "verdict": run["verdict"],
        }

    def is_known_good(self, of: RunRows) -> bool:
        """Whether somebody has looked at it."""
        return int(of.run["created"]) % _GOOD_EVERY == 0

    def label(self, of: RunRows) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows of its label."""
        run, created = of.run["run"], of.run["created"]
        label = {"run": run, "label": KNOWN_GOOD, "note": "", "author": "me", "created": created}
        return label, {"kind": "label", "value": KNOWN_GOOD, "created": created, "run": run}

    def some_run(self, chance: random.Random) -> str:
        """Id of a run that is there."""
        return _id(chance.randrange(self.made))

    def some_submission(self, chance: random.Random) -> str:
        """Id of a submission that is there."""
        return chance.choice(self._submissions)

    def some_name(self, chance: random.Random) -> str:
        """Name of a package."""
        return _name(chance.randrange(min(self.made, _PACKAGES)))

    def some_package(self, chance: random.Random) -> str:
        """Purl of a package."""
        return _purl(chance.randrange(min(self.made, _PACKAGES)))

    def some_sha256(self, chance: random.Random) -> str:
        """Digest of an artefact."""
        return _sha256(chance.randrange(self.made))

    def some_domain(self, chance: random.Random) -> str:
        """A domain that one run asked for."""
        return f"host-{chance.randrange(self.made)}.one.test"

    def _run(self, number: int) -> RunRows:
        chance, run, created = self._chance, _id(number), BEGIN + number
        verdict = chance.choices(("clean", "inconclusive", "suspicious", "malicious"), (960, 25, 12, 3))[0]
        rules = [f"other-{chance.randrange(100)}" for _ in range(chance.randrange(4))]
        rules += [COMMON_RULE] * (number % 3 == 0) + [RARE_RULE] * (number % 5_000 == 0)
        domains = [f"host-{number}.one.test", f"cdn{number % 1_000}.shared.test"]
        domains += ["api.common.test"] * (number % 10 == 0) + ["rare.test"] * (number % 3_000 == 0)
        terms = {("sha256", _sha256(number)), *(("domain", domain) for domain in domains)}
        terms |= {
            ("zone", ".".join(domain.split(".")[start:])) for domain in domains for start in (0, 1)[: domain.count(".")]
        }
        terms |= {("url", f"https://{domain}/path/{number}") for domain in domains}
        terms |= {("rule", rule) for rule in rules} | {("rule", _sha256(rule)[:36]) for rule in rules}
        terms |= {("technique", technique) for _ in rules for technique in ("T1059", f"T1059.{chance.randrange(9):03}")}
        return RunRows(
            run={
                "run": run,
                "created": created,
                "purl": _purl(number),
                "ecosystem": "pypi",
                "name": _name(number),
                "version": f"1.{number // _PACKAGES}",
                "filename": f"{_name(number)}-1.0.tar.gz",
                "sha256": _sha256(number),
                "kind": "sdist" if number % 2 else "wheel",
                "profile": "pypi",
                "profile_sha256": _PROFILE,
                "rules_sha256": _RULES,
                "fumehood": "0.1.0",
                "verdict": verdict,
                "classification": "",
                "reasons": [f"{rule} fired at install, and this is why that matters" for rule in rules],
                "events": {"file.read": 1000, "file.write": 500, "process.exec": 20, "dns.query": len(domains)},
                "seconds": 2.5,
                "interrupted": False,
            },
            findings=tuple(
                {
                    "run": run,
                    "position": position,
                    "rule": _sha256(rule)[:36],
                    "name": rule,
                    "title": f"{rule} was seen",
                    "level": "medium",
                    "weight": "context",
                    "suppressed": False,
                    "phase": "install",
                    "actor": "target",
                    "count": 3,
                    "attack": ["T1059"],
                }
                for position, rule in enumerate(rules)
            ),
            terms=tuple(
                {"kind": kind, "value": value, "created": created, "run": run} for kind, value in sorted(terms)
            ),
        )


def _id(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"


def _name(number: int) -> str:
    return f"package-{number * 7919 % _PACKAGES:05}"


def _purl(number: int) -> str:
    return f"pkg:pypi/{_name(number)}@1.{number // _PACKAGES}"


def _sha256(of: object) -> str:
    return hashlib.sha256(str(of).encode()).hexdigest()
