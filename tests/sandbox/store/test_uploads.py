"""Uploaded artefacts stay while somebody waits for them, and a while longer."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import select

from sandbox import submit_commands
from sandbox.config import load_configuration
from sandbox.database import open_database, upgrade, writing
from sandbox.database.schema import UPLOADS
from sandbox.evidence import open_evidence
from sandbox.intake import keep_upload
from sandbox.service_commands import prepare
from sandbox.store.uploads import prune_uploads
from sandbox.submissions import attempts, uploads
from sandbox.submissions.attempts import Attempt, Result
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit
from sandbox.submit_commands import Wish
from tests.sandbox.store.meanwhile import Meanwhile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

NOW = 1_800_000_000.0
DAY = 86_400.0
REQUEST = Request(package="a.whl", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64)


def _ended(engine: Engine, request: Request, at: float) -> None:
    attempt = Attempt(submission=submit(engine, request, at).submission.id, number=1, owner="here")
    attempts.claim(engine, attempt, at, 30)
    with writing(engine) as connection:
        attempts.finish(connection, attempt, Result(state="failed"), at)


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_what_nobody_waits_for_goes(
    database_url: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine = open_database(database_url)
    upgrade(engine)
    request.addfinalizer(engine.dispose)
    evidence = open_evidence(str(tmp_path / "evidence") if kind == "directory" else request.getfixturevalue("s3"))
    here = tmp_path / "uploads"
    digests = {}
    for name in ("waits", "ended-lately", "ended-long-ago", "never-submitted"):
        digests[name] = hashlib.sha256(name.encode()).hexdigest()
        file = here / digests[name] / "a.whl"
        file.parent.mkdir(parents=True)
        file.write_text(name)
        evidence.keep_upload(file, digests[name])
        os.utime(file.parent, (NOW - 60 * DAY, NOW - 60 * DAY))
    (here / ".incoming-1").mkdir()
    submit(engine, msgspec.structs.replace(REQUEST, upload=digests["waits"]), NOW - 50 * DAY)
    _ended(engine, msgspec.structs.replace(REQUEST, upload=digests["ended-lately"]), NOW - DAY)
    _ended(engine, msgspec.structs.replace(REQUEST, upload=digests["ended-long-ago"]), NOW - 50 * DAY)

    # Sent just now by the store's own clock, which is long before NOW.
    assert prune_uploads(engine, evidence, here, before=0) == 0
    assert prune_uploads(engine, evidence, here, before=NOW - 30 * DAY) == 2
    stay = {digests["waits"], digests["ended-lately"]}
    assert {sha256 for sha256, _ in evidence.uploads()} == stay
    assert {path.name for path in here.iterdir()} == {*stay, ".incoming-1"}
    with engine.connect() as connection:
        assert connection.execute(select(UPLOADS)).all() == []


def _somebody_waits(engine: Engine) -> bool:
    """Whether a transaction waits for another; SQLite lets none but one write, and tells nobody of the others."""
    if engine.dialect.name == "sqlite":
        return True
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(query).scalar_one())


def test_one_that_is_sent_again_while_it_is_removed_is_kept_anew(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    configuration = load_configuration({"FUMEHOOD_DATA": str(tmp_path / "data"), "FUMEHOOD_DATABASE": database_url})
    engine, evidence = prepare(configuration), open_evidence(configuration.evidence)
    request.addfinalizer(engine.dispose)
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"never run")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wish = Wish(package=str(wheel), lane="manual", artefact="auto", profile=None, pod=None, runtime=None, force=False)
    again = threading.Thread(
        target=submit_commands.submit, args=(configuration, wish), kwargs={"wait": False, "form": "text"}
    )
    wants, really_want = threading.Event(), uploads.want

    def want(*arguments: Any) -> None:
        wants.set()
        really_want(*arguments)

    def drop(really: Callable[..., None], *arguments: str) -> None:
        """It was decided that it goes; now it is sent again, as far as that can be."""
        again.start()
        assert wants.wait(60)
        while again.is_alive() and not _somebody_waits(engine):
            time.sleep(0.01)
        really(*arguments)

    monkeypatch.setattr(uploads, "want", want)
    # Nothing else of it waits for those who remove.
    monkeypatch.setattr(submit_commands, "prepare", lambda _configuration: engine)
    keep_upload(str(wheel), "auto", configuration.uploads)
    evidence.keep_upload(wheel, sha256)
    soon = time.time() + DAY
    assert prune_uploads(engine, Meanwhile(evidence, "drop_upload", drop), tmp_path / "none", soon) == 1
    again.join()
    assert evidence.keeps_upload(sha256)
    assert (configuration.uploads / sha256 / wheel.name).exists()
