"""`fumehood config check` and `show`, against real servers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from sandbox.cli import cli
from sandbox.config.load import load_configuration
from sandbox.config.secrets import redacted
from sandbox.database import open_database, upgrade
from tests.servers import RedisKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import RedisServer


@pytest.fixture
def fumehood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the command with an environment of its own: exit code and output."""
    for name in os.environ:
        if name.startswith("FUMEHOOD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FUMEHOOD_DATA", str(tmp_path / "data"))

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, arguments, env=environment, standalone_mode=False)
        assert result.exception is None, result.exception
        return result.return_value, result.stdout

    return run


def _states(output: str) -> dict[str, Any]:
    return {check["subject"]: (check["state"], check["says"]) for check in json.loads(output)}


def test_a_new_machine_is_ready(fumehood: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, output = fumehood("config", "check")
    assert code == 0
    assert "made at the first start" in output
    assert "our own" in output
    # Looking makes nothing.
    assert not (tmp_path / "data").exists()


def test_what_answers_is_ok(
    fumehood: Callable[..., tuple[int, str]], database_url: str, redis_server: RedisServer
) -> None:
    engine = open_database(database_url)
    upgrade(engine)
    engine.dispose()
    code, output = fumehood(
        "config", "check", "--format", "json", FUMEHOOD_DATABASE=database_url, FUMEHOOD_REDIS=redis_server.url
    )
    states = _states(output)
    assert code == 0
    assert states["database"][0] == "ok"
    assert "of this version" in states["database"][1]
    assert states["redis"][0] == "ok"


def test_a_redis_that_forgets_is_warned_of(
    fumehood: Callable[..., tuple[int, str]], start_redis: Callable[[RedisKind], RedisServer]
) -> None:
    server = start_redis(RedisKind(append_only=False))
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    code, output = fumehood("config", "check", "--format", "json", FUMEHOOD_REDIS=server.url)
    state, says = _states(output)["redis"]
    assert (code, state) == (0, "warning")
    assert "noeviction" in says
    assert "append-only" in says


def test_what_does_not_answer_is_told_without_its_password(fumehood: Callable[..., tuple[int, str]]) -> None:
    code, output = fumehood(
        "config",
        "check",
        "--format",
        "json",
        FUMEHOOD_DATABASE="postgresql://me:hidden@/nothing?host=/nowhere",
        FUMEHOOD_REDIS="unix://me:hidden@/nowhere/redis.sock",
    )
    states = _states(output)
    assert code == 4
    assert states["database"][0] == states["redis"][0] == "unusable"
    assert "hidden" not in output


def test_offline_asks_nobody(fumehood: Callable[..., tuple[int, str]]) -> None:
    code, output = fumehood("config", "check", "--offline", FUMEHOOD_REDIS="unix:///nowhere/redis.sock")
    assert code == 0
    assert "redis" not in output


def test_what_is_wrong_is_told(fumehood: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "worker: {profiles: [pypi, nothing-like-it]}\n"
        f"webhooks: [{{url: 'https://told.example', secret_file: {tmp_path / 'absent'}}}]\n"
    )
    code, output = fumehood("config", "check", "--offline", "--config", str(path), FUMEHOOD_API_PROT="1")
    assert code == 2
    assert [line.split()[:2] for line in output.splitlines() if not line.startswith("ok")] == [
        ["warning", "environment:"],
        ["WRONG", "profile:"],
        ["WRONG", "webhook:"],
    ]
    assert "FUMEHOOD_API_PROT means nothing; did you mean 'FUMEHOOD_API_PORT'?" in output


def test_a_receiver_is_checked_as_the_server_reads_it(fumehood: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    path, secret = tmp_path / "mine.yaml", tmp_path / "secret"
    path.write_text(f"webhooks: [{{url: 'https://told.example/hooks', secret_file: {secret}}}]\n")
    secret.write_text("too short\n")
    code, output = fumehood("config", "check", "--offline", "--format", "json", "--config", str(path))
    assert code == 2
    assert _states(output)["webhook"][0] == "wrong"
    assert "a secret has 16 to 4096 bytes" in _states(output)["webhook"][1]
    secret.write_text("as long as it has to be\n")
    code, output = fumehood("config", "check", "--offline", "--format", "json", "--config", str(path))
    assert (code, _states(output)["webhook"][0]) == (0, "ok")


def test_what_is_shown_is_a_file_that_says_the_same(
    fumehood: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = fumehood("config", "show", FUMEHOOD_API_PORT="2000")
    assert code == 0
    assert "  port: 2000  # FUMEHOOD_API_PORT\n" in output
    assert "  slots: 0  # default\n" in output
    path = tmp_path / "shown.yaml"
    path.write_text(output)
    monkeypatch.setenv("FUMEHOOD_API_PORT", "2000")
    assert load_configuration({}, path) == load_configuration(os.environ)


def test_secrets_are_not_shown(fumehood: Callable[..., tuple[int, str]]) -> None:
    environment = {
        "FUMEHOOD_REDIS": "rediss://me:hid/d@den@queue.example:6379/0?password=hidden",
        "FUMEHOOD_DATABASE": "postgresql://me:hidden@db.example/fumehood",
    }
    for form in ("text", "json"):
        _, output = fumehood("config", "show", "--format", form, **environment)
        assert "hid/" not in output
        assert "hidden@" not in output
        assert "=hidden" not in output
        assert "queue.example:6379" in output
        assert "me:***@db.example/fumehood" in output


def test_text_without_secrets_stays_as_it_is() -> None:
    assert redacted("sqlite:////srv/x@y/fumehood.sqlite") == "sqlite:////srv/x@y/fumehood.sqlite"
    assert redacted("postgresql://me@db.example/fumehood?host=/run") == "postgresql://me@db.example/fumehood?host=/run"


def test_json_says_where_values_come_from(fumehood: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("worker:\n  slots: 2\n")
    _, output = fumehood("config", "show", "--format", "json", "--config", str(path))
    shown = yaml.safe_load(output)
    assert shown["file"] == str(path)
    assert shown["configuration"]["worker"]["slots"] == 2
    assert shown["origins"]["worker.slots"] == "line 2"
