"""Uploaded artefacts stay while somebody waits for them, and a while longer."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from sandbox.database import open_database, upgrade, writing
from sandbox.evidence import open_evidence
from sandbox.store.uploads import prune_uploads
from sandbox.submissions import attempts
from sandbox.submissions.attempts import Attempt, Result
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit

if TYPE_CHECKING:
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
