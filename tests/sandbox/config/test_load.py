"""The configuration: what the file says, what the environment says instead, and what is wrong with either."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.config.environment import variables
from sandbox.config.load import load_configuration, load_effective
from sandbox.errors import ConfigurationError


def _write(directory: Path, text: str) -> Path:
    path = directory / "fumehood.yaml"
    path.write_text(text)
    return path


def test_without_a_file_everything_is_below_the_users_data(tmp_path: Path) -> None:
    found = load_configuration({"HOME": str(tmp_path)})
    data = tmp_path / ".local/share/fumehood"
    assert found.data == data
    assert found.database == f"sqlite:///{data}/fumehood.sqlite"
    assert found.redis == ""
    assert found.evidence == f"{data}/evidence"


def test_our_own_redis_is_found_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis/url").write_text("unix://fumehood:secret@/redis.sock")
    assert load_configuration({"FUMEHOOD_DATA": str(tmp_path)}).redis == "unix://fumehood:secret@/redis.sock"
    elsewhere = {"FUMEHOOD_DATA": str(tmp_path), "FUMEHOOD_REDIS": "redis://queue.example"}
    assert load_configuration(elsewhere).redis == "redis://queue.example"


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path, "data: /srv/one\nworker:\n  slots: 2\n  profiles: [pypi]\napi:\n  port: 1000\n")
    environment = {
        "FUMEHOOD_CONFIG": str(path),
        "FUMEHOOD_DATA": "/srv/other",
        "FUMEHOOD_API_PORT": "2000",
        "FUMEHOOD_WORKER_PROFILES": "pypi, ./mine.yaml",
        "FUMEHOOD_QUEUE_ATTEMPTS": "",
    }
    effective = load_effective(environment)
    found = effective.configuration
    assert (found.data, found.api.port, found.worker.slots) == (Path("/srv/other"), 2000, 2)
    assert found.worker.profiles == ("pypi", "./mine.yaml")
    assert found.queue.attempts == 3
    assert effective.origins[("api", "port")] == "FUMEHOOD_API_PORT"
    assert effective.origins[("worker", "slots")] == "line 3"
    assert ("queue", "attempts") not in effective.origins


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FUMEHOOD_API_PORT", "many", "`int`"),
        ("FUMEHOOD_API_PORT", "70000", "65535"),
        ("FUMEHOOD_WORKER_POD", "balloon", "Invalid enum value"),
    ],
)
def test_a_wrong_value_in_the_environment_is_told_by_its_name(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: .*{said}"):
        load_configuration({"HOME": "/", name: value})


def test_no_two_keys_have_the_same_variable() -> None:
    names = [variable.name for variable in variables()]
    assert len(names) == len(set(names)) > 15
    # Of other commands, with another meaning.
    assert not {"FUMEHOOD_CONFIG", "FUMEHOOD_POD", "FUMEHOOD_RUNTIME", "FUMEHOOD_BUNDLES", "FUMEHOOD_CACHE"} & set(
        names
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api:\n  prot: 1\n", r"fumehood.yaml:2: .*did you mean 'port'"),
        ("api:\n  port: 70000\n", r"fumehood.yaml:2: "),
        ("queue: 3\n", r"fumehood.yaml:1: "),
        ("", r"fumehood.yaml:1: the file is empty"),
    ],
)
def test_a_wrong_file_is_told_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_configuration({}, _write(tmp_path, text))
