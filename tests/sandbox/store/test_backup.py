"""What docs/operations.md says of backups, done as it is written there: everything is found again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from sqlalchemy import delete, select, text

from collector.sigma.load import load_rules
from collector.store.labels import Label, labels_of, put_label
from collector.suppressions import NONE
from sandbox import tokens
from sandbox.config import load_configuration
from sandbox.database import writing
from sandbox.database.schema import METADATA, SUBMISSIONS
from sandbox.evidence import open_evidence
from sandbox.resources import rules_directory
from sandbox.service_commands import prepare
from sandbox.store.rebuild import Plan, rebuild
from sandbox.store.record import take_in
from sandbox.store.verify import names, verify
from sandbox.submissions import attempts
from sandbox.submissions.attempts import Attempt, Result
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from collector.sigma.rule import RuleSet

ROOT: Final = Path(__file__).parents[3]
FIRST, SECOND = (ROOT / "tests/golden/bundles" / name for name in ("reverse-shell", "pth-beacon"))
REQUEST: Final = Request(package="pkg:pypi/thing", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64)
UPLOAD: Final = hashlib.sha256(b"sent").hexdigest()
SENT: Final = "thing-1.0.tar.gz"
NOW: Final = 1_800_000_000.0


def _commands() -> tuple[list[str], list[str]]:
    """Those that back up, and those that restore: of one machine and of several."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = page.partition("\n## Back up\n")[2].partition("\n## ")[0]
    backup, restore, *_ = re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return backup.splitlines(), restore.splitlines()


class Host:
    """A machine of the test's own, whose directories stand for those of the page."""

    def __init__(self, place: Path, kind: str, database: str) -> None:
        self.data = place / "lib"
        self.backup = place / "backup"
        self.backup.mkdir()
        secrets = place / "environment"
        secrets.write_text(f'FUMEHOOD_DATABASE="{database}"\n', encoding="utf-8")
        self._others = re.compile("pg_|psql|/etc/fumehood/environment" if kind == "sqlite" else "sqlite")
        self._ours = {
            "/var/lib/fumehood": str(self.data),
            "/backup": str(self.backup),
            "/etc/fumehood/environment": str(secrets),
            " fumehood: ": f" {os.getuid()}:{os.getgid()} ",
        }
        self._environment = {
            "HOME": str(place),
            "FUMEHOOD_DATA": str(self.data),
            "FUMEHOOD_DATABASE": database,
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        }
        self.configuration = load_configuration(self._environment)
        self.evidence = open_evidence(self.configuration.evidence)

    def give(self, commands: list[str]) -> None:
        """Give those of the commands that are for this database."""
        chosen = "\n".join(line for line in commands if not self._others.search(line))
        script = re.sub("|".join(map(re.escape, self._ours)), lambda found: self._ours[found[0]], chosen)
        done = subprocess.run(
            ["/bin/bash", "-euxo", "pipefail", "-c", script],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules(rules_directory())


@pytest.fixture(params=["sqlite", "postgresql"])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    file = tmp_path / "lib" / "fumehood.sqlite"
    url = f"sqlite:///{file}" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    return Host(tmp_path, request.param, url)


@pytest.fixture
def engine(host: Host) -> Iterator[Engine]:
    made = prepare(host.configuration)
    yield made
    made.dispose()


def _rows(engine: Engine) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in METADATA.sorted_tables
        }


def _faults(engine: Engine, host: Host) -> list[tuple[str, str]]:
    found = verify(engine, host.evidence, names(engine, host.evidence))
    return [(fault.run, fault.fault) for fault in found if fault is not None]


def _used(engine: Engine, host: Host, rules: RuleSet) -> str:
    """A service that was used: a run that counts, a label, a token, a file that waits; the run."""
    run = take_in(engine, host.evidence, FIRST, rules, NONE).manifest.run
    attempt = Attempt(submission=submit(engine, REQUEST, NOW).submission.id, number=1, owner="here")
    attempts.claim(engine, attempt, NOW, 30)
    with writing(engine) as connection:
        attempts.finish(connection, attempt, Result(state="done", run=run, verdict="clean"), NOW)
        put_label(connection, run, Label(label="known-good", note="looked at ☃", author="me", created=NOW))
    tokens.create(engine, "scanner", "submit", NOW, None)
    sent = host.configuration.uploads / UPLOAD / SENT
    sent.parent.mkdir(parents=True)
    sent.write_bytes(b"sent")
    host.evidence.keep_upload(sent, UPLOAD)
    submit(engine, msgspec.structs.replace(REQUEST, package=SENT, upload=UPLOAD), NOW)
    return run


def test_a_backup_brings_everything_back(host: Host, engine: Engine, rules: RuleSet) -> None:
    backup, restore = _commands()
    first = _used(engine, host, rules)
    before = _rows(engine)
    assert {"submissions", "runs", "findings", "labels", "tokens", "evidence"} <= {it for it in before if before[it]}
    copies = next(number for number, line in enumerate(backup) if line.startswith("rsync"))
    host.give(backup[:copies])
    # Everything goes on meanwhile: this run's evidence is in the backup, and its rows are not.
    second = take_in(engine, host.evidence, SECOND, rules, NONE).manifest.run
    host.give(backup[copies:])

    # Then all is lost, but for what of the database was spoilt, and is of a newer version.
    shutil.rmtree(host.data / "evidence")
    shutil.rmtree(host.data / "uploads")
    with writing(engine) as connection:
        connection.execute(delete(SUBMISSIONS))
        connection.execute(text("CREATE TABLE of_tomorrow (id INTEGER)"))
    engine.dispose()
    host.give(restore)

    restored = prepare(host.configuration)
    try:
        assert _rows(restored) == before
        with restored.connect() as connection:
            assert not restored.dialect.has_table(connection, "of_tomorrow")
        assert _faults(restored, host) == [(second, "no-rows")]
        made = rebuild(restored, Plan(evidence=host.configuration.evidence), NOW, lambda _state, _total: None)
        assert (made.done, made.bad) == (2, 0)
        assert _faults(restored, host) == []
        with restored.connect() as connection:
            assert [label.note for label in labels_of(connection, [first])[first]] == ["looked at ☃"]
    finally:
        restored.dispose()
    assert host.evidence.keeps_upload(UPLOAD)
    assert (host.configuration.uploads / UPLOAD / SENT).read_bytes() == b"sent"
