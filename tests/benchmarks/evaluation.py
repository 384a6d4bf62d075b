"""False alarms on known-good packages, and how many rules fire on their emulations: the tables of docs/evaluation.md.

    .venv/bin/python -m tests.benchmarks.evaluation run --results FILE [NAME ...]
    .venv/bin/python -m tests.benchmarks.evaluation recall --results FILE
    .venv/bin/python -m tests.benchmarks.evaluation write --results FILE --document docs/evaluation.md

`run` takes the packages of evaluation.yaml from the configured index, one at a time, and appends a line of JSON for
each as soon as it has ended; what stands in the file already is not run again. `recall` appends one line for each
emulation of tests/packages. `write` renews the tables between the markers of the document.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.packages import build, observe

if TYPE_CHECKING:
    from collector.findings import Finding

HERE: Final = Path(__file__).resolve().parent
GRAVE: Final = ("medium", "high", "critical")
STRATA: Final = {"A": "compiled sdists", "C": "build tools", "D": "heavy imports", "G": "system tools"}


def known(results: Path) -> list[dict[str, Any]]:
    """Read what has been found so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def note(results: Path, row: dict[str, Any]) -> None:
    """Append one result."""
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def run_package(stratum: str, name: str, version: str, artefact: str) -> dict[str, Any]:
    """Run one package under the shipped profile and say what was found."""
    with tempfile.TemporaryDirectory() as bundles:
        start = time.monotonic()
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("fumehood"), "run", "--pod", "bubblewrap", "--format", "json"),
                *("--quiet", "--fail-on", "never", "--artefact", artefact, f"pkg:pypi/{name}@{version}"),
            ],
            check=False,
            capture_output=True,
            env={**os.environ, "FUMEHOOD_BUNDLES": bundles},
        )
        seconds = time.monotonic() - start
    row = {
        "stratum": stratum,
        "package": name,
        "version": version,
        "artefact": artefact,
        "seconds": round(seconds, 1),
    }
    if not done.stdout:
        return {**row, "verdict": "no run", "findings": [], "reasons": [done.stderr.decode()[-300:]]}
    report = json.loads(done.stdout)
    findings = sorted(
        {
            f"{finding['level']}: {finding['name']} ({finding['phase']})"
            for finding in report["findings"]
            if finding["level"] in GRAVE
        }
    )
    return {**row, "verdict": report["verdict"], "findings": findings, "reasons": report["reasons"]}


def run_packages(results: Path, only: list[str]) -> None:
    """Run the packages of the list that have no result yet."""
    have = {(row["package"], row["artefact"]) for row in known(results) if "package" in row}
    for entry in yaml.safe_load((HERE / "evaluation.yaml").read_text(encoding="utf-8")):
        stratum, name, version, artefact = entry
        if (name, artefact) not in have and (not only or name in only):
            note(results, run_package(stratum, name, version, artefact))


def fires(found: tuple[Finding, ...], rule: str) -> bool:
    """Tell whether a rule is among findings."""
    return rule in {finding.name for finding in found}


def run_emulations(results: Path) -> None:
    """Run each family of emulations, and its twins, and note for each row whether its rule fired."""
    for family in build.families():
        with tempfile.TemporaryDirectory() as directory:
            seen = {side: observe.run(family, side, Path(directory)) for side in build.SIDES}
            for row in build.emulations(family):
                rules = observe.rules_for(row)
                fired = {side: fires(seen[side].findings(row, rules), row.rule) for side in build.SIDES}
                note(results, {"family": family, "emulation": row.name, "rule": row.rule, **fired})


def packages_table(rows: list[dict[str, Any]]) -> str:
    """Write the table of packages, with a summary by stratum."""
    lines = ["| stratum | package | artefact | verdict | findings of level medium or above | seconds |"]
    lines.append("|---|---|---|---|---|--:|")
    for row in sorted(rows, key=lambda row: (row["stratum"], row["package"])):
        findings = "<br>".join(row["findings"]) or "none"
        if row["verdict"] in ("inconclusive", "no run"):
            findings = "<br>".join(reason.replace("|", "\\|").replace("\n", " ") for reason in row["reasons"][:3])
        version = f"{row['package']} {row['version']}"
        cells = (row["stratum"], version, row["artefact"], row["verdict"], findings, f"{row['seconds']:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| stratum | packages | clean | suspicious | malicious | inconclusive |", "|---|--:|--:|--:|--:|--:|"]
    for stratum, text in [*STRATA.items(), ("", "all")]:
        mine = [row["verdict"] for row in rows if stratum in ("", row["stratum"])]
        verdicts = " | ".join(str(mine.count(name)) for name in ("clean", "suspicious", "malicious", "inconclusive"))
        lines.append(f"| {f'{stratum}: {text}' if stratum else text} | {len(mine)} | {verdicts} |")
    seconds = sorted(row["seconds"] for row in rows)
    lines += ["", f"Median {seconds[len(seconds) // 2]:.0f} s, slowest {seconds[-1]:.0f} s a package."]
    alarms = sum(row["verdict"] in ("suspicious", "malicious") for row in rows)
    low, high = wilson(alarms, len(rows))
    lines.append(f"False alarms: {alarms} of {len(rows)}; 95 % interval (Wilson) {low:.1%} to {high:.1%}.")
    return "\n".join(lines)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson."""
    z, share = 1.96, hits / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def recall_table(rows: list[dict[str, Any]]) -> str:
    """Write how many emulations fired their rule, and how many twins did, by family."""
    lines = ["| family | rules | emulations | fired | twins that fired |", "|---|--:|--:|--:|--:|"]
    for family in [*sorted({row["family"] for row in rows}), ""]:
        mine = [row for row in rows if family in ("", row["family"])]
        fired = [sum(row[side] for row in mine) for side in build.SIDES]
        rules = len({row["rule"] for row in mine})
        lines.append(f"| {family or 'all'} | {rules} | {len(mine)} | {fired[0]} | {fired[1]} |")
    return "\n".join(lines)


def write(results: Path, document: Path) -> None:
    """Renew the tables of the document."""
    rows = known(results)
    tables = {
        "packages": packages_table([row for row in rows if "package" in row]),
        "recall": recall_table([row for row in rows if "emulation" in row]),
    }
    text = document.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{table}\n{end}{rest.partition(end)[2]}"
    document.write_text(text, encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=("run", "recall", "write"))
    parser.add_argument("--results", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--document", type=Path, help="the page whose tables `write` renews")
    parser.add_argument("names", nargs="*", metavar="NAME", help="packages to run; all when none is named")
    arguments = parser.parse_intermixed_args()
    if arguments.step == "run":
        run_packages(arguments.results, arguments.names)
    elif arguments.step == "recall":
        run_emulations(arguments.results)
    elif arguments.document is None:
        parser.error("write needs --document")
    else:
        write(arguments.results, arguments.document)


if __name__ == "__main__":
    main()
