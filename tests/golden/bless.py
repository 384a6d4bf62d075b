"""Makes the reports of the golden bundles what they are now: look at the difference before you commit it.

python -m tests.golden.bless
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from collector.analyse import analyse
from collector.bundle import Bundle
from collector.report import to_json
from collector.sigma.load import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.sigma.rule import RuleSet

HERE = Path(__file__).parent
BUNDLES = HERE / "bundles"
REPORTS = HERE / "reports"
RULES = HERE.parents[1] / "profiles" / "rules"


def names() -> list[str]:
    """The golden bundles that are there."""
    return sorted(path.name for path in BUNDLES.iterdir())


def made(name: str, rules: RuleSet) -> bytes:
    """Make the report of a golden bundle.

    Only the digest of the rules is left out of it: it changes with every word of any rule, and says nothing here.
    """
    report = analyse(Bundle.open(BUNDLES / name), rules)
    run = msgspec.structs.replace(report.manifest, rules_sha256="")
    return to_json(msgspec.structs.replace(report, manifest=run))


def bless(chosen: Iterable[str]) -> None:
    """Write the expected reports."""
    rules = load_rules(RULES)
    REPORTS.mkdir(exist_ok=True)
    for name in chosen:
        (REPORTS / f"{name}.json").write_bytes(made(name, rules))


if __name__ == "__main__":
    bless(names())
    sys.stdout.write(f"wrote the reports of {len(names())} golden bundles; see git diff tests/golden/reports\n")
