"""Whoever submits: most through the HTTP interface, some on the command line; each tries until it is taken."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

import httpx2

from tests.chaos.hosts import COMMAND
from tests.sandbox.intake import building

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.hosts import Site

_BY_COMMAND = 10
"""One in so many."""
_LANES = ("sweep", "manual", "sweep", "escalation")
_PAUSE_S = 0.5


class Submitter:
    """Submits so many tiny packages, all of them different."""

    def __init__(self, site: Site, count: int) -> None:
        self._site = site
        self._count = count
        self.accepted: set[str] = set()
        self.give_up = threading.Event()

    def submit_all(self) -> None:
        """Submit, one after the other."""
        directory = self._site.directory / "packages"
        directory.mkdir()
        headers = {"Authorization": f"Bearer {self._site.secret}"}
        with httpx2.Client(base_url=f"{self._site.url}/api/v1", headers=headers, trust_env=False, timeout=30) as client:
            for number in range(self._count):
                package = _wheel(directory, number)
                lane = _LANES[number % len(_LANES)]
                while not self.give_up.is_set():
                    by_command = number % _BY_COMMAND == 0
                    taken = self._by_command(package, lane) if by_command else self._by_http(client, package, lane)
                    if taken:
                        self.accepted.add(taken)
                        break
                    self.give_up.wait(_PAUSE_S)
                package.unlink()

    def _by_http(self, client: httpx2.Client, package: Path, lane: str) -> str:
        try:
            answer = client.post(
                "/submissions/upload",
                params={"lane": lane},
                files={"file": (package.name, package.read_bytes())},
                headers={"Idempotency-Key": package.name},
            )
        except httpx2.TransportError:
            return ""
        return str(answer.json()["id"]) if answer.is_success else ""

    def _by_command(self, package: Path, lane: str) -> str:
        command = [*self._site.inside, COMMAND, "submit", str(package), "--lane", lane]
        done = subprocess.run(command, env=self._site.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""


def _wheel(directory: Path, number: int) -> Path:
    name = f"tiny{number}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n"
    return building.wheel(directory / f"{name}-1.0-py3-none-any.whl", metadata=metadata, info=f"{name}-1.0.dist-info")
