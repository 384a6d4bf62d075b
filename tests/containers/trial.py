"""The service in containers, by the commands of docs/operations.md."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.images.pods import make_wheel

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "fumehood-trial"
SLEEPERS = 4
DUMP = ["sh", "-c", 'pg_dump --format custom "$FUMEHOOD_DATABASE"']
PACK = ["sh", "-c", "cd /var/lib/fumehood && tar --create evidence $(ls -d uploads 2>/dev/null)"]
RESTORE = 'pg_restore --clean --if-exists --no-owner --single-transaction --dbname "$FUMEHOOD_DATABASE"'
UNPACK = ["tar", "serve", "--extract", "--directory", "/var/lib/fumehood"]


class TrialError(Exception):
    """Something is not as it should be; the message says what."""


def build(arguments: list[str]) -> None:
    """Make the image."""
    if subprocess.run([ROOT / "images/service/build", *arguments], check=False).returncode:
        raise TrialError("the image could not be made")


class Trial:
    """One project, with volumes and a port of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._environment = {
            **os.environ,
            "POSTGRES_PASSWORD": secrets.token_hex(24),
            "REDIS_PASSWORD": secrets.token_hex(24),
            "FUMEHOOD_PORT": str(self._port),
        }
        self._token = ""

    def run(self, package: str) -> None:
        """Do everything, in order; raises TrialError."""
        self._up()
        self._token = self._token_of(
            self._compose("exec", "-T", "serve", "fumehood", "token", "create", "trial", "--role", "admin")
        )
        self._say(f"{package}: {self._wait([self._post({'purl': package})])[0]['verdict']}")
        self._strike("the worker is killed in the middle of two runs", ["kill", "--signal", "KILL", "worker"])
        self._strike("Redis and PostgreSQL are started again", ["restart", "redis", "postgresql"])
        before = self._all()
        self._compose("down")
        self._up()
        self._same(before, "all containers were made anew")
        self._restore(before)

    def close(self) -> None:
        """Remove containers, networks and volumes; the image stays."""
        self._compose("down", "--volumes", "--timeout", "5")

    def _restore(self, before: dict[str, Any]) -> None:
        dump = self._compose("exec", "-T", "serve", *DUMP)
        files = self._compose("exec", "-T", "serve", *PACK)
        self._compose("down", "--volumes")
        self._compose("up", "--detach", "--wait", "postgresql")
        once = ["run", "--rm", "--no-deps", "-T", "--entrypoint"]
        self._compose(*once, "sh", "serve", "-c", RESTORE, given=dump)
        self._compose(*once, *UNPACK, given=files)
        self._up()
        self._same(before, "everything was put back from a backup")
        self._compose("exec", "-T", "serve", "fumehood", "store", "verify")

    def _strike(self, what: str, command: list[str]) -> None:
        identifiers = [self._upload(number) for number in range(SLEEPERS)]
        self._until(
            lambda: sum(self._get(f"submissions/{one}")["state"] == "running" for one in identifiers) > 1, "two runs"
        )
        self._compose(*command)
        self._up()
        ends = self._wait(identifiers)
        attempts = sorted(end["attempt"] for end in ends)
        self._say(f"{what}: {len(ends)} of {SLEEPERS} done, attempts {attempts}")

    def _upload(self, number: int) -> str:
        name = f"sleeper_{number}_{secrets.token_hex(4)}"
        wheel = make_wheel(self._directory, name, {f"{name}.py": "import time\ntime.sleep(8)\n"})
        with wheel.open("rb") as opened:
            return str(self._ask("POST", "submissions/upload", files={"file": (wheel.name, opened)})["id"])

    def _wait(self, identifiers: list[str]) -> list[dict[str, Any]]:
        ends: list[dict[str, Any]] = []
        for one in identifiers:
            self._until(lambda one=one: self._get(f"submissions/{one}")["state"] not in {"queued", "running"}, "an end")
            end = self._get(f"submissions/{one}")
            if end["state"] != "done" or self._get(f"submissions/{one}/report")["verdict"] != end["verdict"]:
                raise TrialError(f"{end['package'] or end['upload']} is {end['state']}: {end['reason']}")
            ends.append(end)
        return ends

    def _all(self) -> dict[str, Any]:
        return {item["id"]: (item["state"], item["run"], item["verdict"]) for item in self._get("submissions")["items"]}

    def _same(self, before: dict[str, Any], after: str) -> None:
        now = self._all()
        if now != before:
            raise TrialError(f"after {after}: {len(before)} submissions were there, now {now}")
        for one in now:
            self._get(f"submissions/{one}/report")
        self._say(f"{after}: {len(now)} submissions and their reports are there")

    def _post(self, body: dict[str, str]) -> str:
        return str(self._ask("POST", "submissions", json=body)["id"])

    def _get(self, path: str) -> Any:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = httpx.request(
            method, f"http://127.0.0.1:{self._port}/api/v1/{path}", headers=headers, timeout=60, **more
        )
        if answer.is_error:
            raise TrialError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def _up(self) -> None:
        self._compose("up", "--detach", "--wait", "--scale", "sweeps=0")

    def _until(self, true: Any, what: str) -> None:
        # The first run builds the base root filesystem.
        end = time.monotonic() + 600
        while not true():
            if time.monotonic() > end:
                raise TrialError(f"waited ten minutes for {what}")
            time.sleep(1)

    def _compose(self, *arguments: str, given: bytes = b"") -> bytes:
        command = ["docker", "compose", "--project-name", PROJECT, "--file", str(ROOT / "compose.yaml"), *arguments]
        done = subprocess.run(command, env=self._environment, input=given, capture_output=True, check=False)
        if done.returncode:
            raise TrialError(
                f"docker compose {' '.join(arguments[:3])}: {done.stderr.decode(errors='replace')[-2000:]}"
            )
        return done.stdout

    @staticmethod
    def _token_of(said: bytes) -> str:
        return said.decode().split()[-1]

    def _say(self, line: str) -> None:
        print(line, flush=True)
