"""`fumehood serve` and `fumehood token` as a user starts them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.executable).with_name("fumehood")


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], check=False, capture_output=True, text=True, env=_environment(home))


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FUMEHOOD_")}
    return kept | {"FUMEHOOD_DATA": str(home / "data"), "XDG_CONFIG_HOME": str(home / "config")}


@contextmanager
def _serving(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [COMMAND, "serve", "--port", "0"]
    with subprocess.Popen(command, env=_environment(home), stderr=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stderr
            found = re.search(r"http://\S+", serving.stderr.readline())
            assert found
            yield serving, found[0]
        finally:
            serving.send_signal(signal.SIGTERM)


def test_a_token_from_the_command_line_opens_the_server(tmp_path: Path) -> None:
    secret = _run(tmp_path, "token", "create", "me", "--role", "analyst", "--days", "2").stdout.strip()
    with _serving(tmp_path) as (serving, url), httpx2.Client(base_url=url, trust_env=False) as client:
        assert client.get("/ready").json() == {"ready": True, "checks": {"database": "ok"}}
        headers = {"Authorization": f"Bearer {secret}"}
        made = client.post("/submissions", json={"purl": "pkg:pypi/six"}, headers=headers)
        assert made.status_code == 201
        assert made.headers["x-content-type-options"] == "nosniff"
        assert "server" not in made.headers
    assert serving.returncode == 0

    [token] = json.loads(_run(tmp_path, "token", "list", "--format", "json").stdout)
    assert (token["name"], token["role"], token["used"] is not None) == ("me", "analyst", True)
    assert secret not in _run(tmp_path, "token", "list").stdout
    assert _run(tmp_path, "token", "revoke", "me").returncode == 0
    again = _run(tmp_path, "token", "revoke", "me")
    assert again.returncode == 2
    assert "fumehood token list" in again.stderr


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    for arguments, says in (
        (("token", "create", "a b"), "cannot be a token's name"),
        (("token", "revoke", "nobody"), "no token 'nobody' is in force"),
        (("serve", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
        (("serve", "--config", str(tmp_path / "absent.yaml")), "cannot be read"),
    ):
        ran = _run(tmp_path, *arguments)
        assert ran.returncode == 2, arguments
        assert says in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
