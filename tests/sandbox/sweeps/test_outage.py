"""A database that goes away under a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from sandbox.database import open_database, upgrade, writing
from sandbox.database.schema import SUBMISSIONS, SWEEP_ENTRIES, SWEEP_RUNS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import PostgreSQL

    from .conftest import SweptIndex

COUNT = 80


def test_a_database_that_is_killed_under_a_sweep_costs_that_run_alone(
    own_postgresql: PostgreSQL, index: SweptIndex, tmp_path: Path
) -> None:
    url = own_postgresql.url
    engine = open_database(url)
    upgrade(engine)
    for number in range(COUNT):
        index.release(f"p{number}", "1.0")
    (tmp_path / "names.txt").write_text("\n".join(f"p{number}" for number in range(COUNT)))
    (tmp_path / "sweeps.yaml").write_text("sweeps:\n  ours:\n    feed: {kind: file, source: names.txt}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{index.base}/simple",
        "FUMEHOOD_DATABASE": url,
        "FUMEHOOD_SWEEPS": str(tmp_path / "sweeps.yaml"),
        "FUMEHOOD_CACHE": str(tmp_path / "cache"),
    }
    code = "from sandbox.entry import main; main()"
    command = [sys.executable, "-c", code, "sweep", "run", "ours", "--format", "json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as run:
        while run.poll() is None:
            with engine.connect() as connection:
                if connection.execute(select(func.count()).select_from(SUBMISSIONS)).scalar_one() >= 20:
                    break
            time.sleep(0.01)
        own_postgresql.kill()
        _, said = run.communicate()
    assert run.returncode == 4
    assert said.splitlines()[-1].startswith("fumehood: the database does not answer")
    assert "Traceback" not in said
    own_postgresql.start()
    with writing(engine) as connection:  # as if the lease had run out
        connection.execute(update(SWEEP_RUNS).values(lease_until=time.time() - 1))
    ended = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert json.loads(ended.stdout)["state"] == "complete"
    with engine.connect() as connection:
        packages = sorted(connection.scalars(select(SUBMISSIONS.c.package)))
        entries = connection.execute(select(func.count()).where(SWEEP_ENTRIES.c.state == "submitted")).scalar_one()
    assert packages == sorted(f"pkg:pypi/p{number}@1.0" for number in range(COUNT))
    assert entries == COUNT
    engine.dispose()
