"""What may happen to a service, all of it at random moments."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.chaos.hosts import Host, Site

_FULL_S = 4.0


class Storm:
    """Strikes now and then, and repairs what administrators and init systems would."""

    def __init__(self, site: Site, chance: random.Random, every: float, most: int, tell: Callable[[str], None]) -> None:
        self._site = site
        self._chance = chance
        self._every = every
        self._left = most or -1
        self._tell = tell
        self._next = time.monotonic() + every
        self._ballast: list[tuple[float, Path]] = []
        self._deck: list[Callable[[], str]] = []
        self.struck: Counter[str] = Counter()

    def blow(self, *, calm: bool) -> None:
        """Strike if it is time, unless the trial is about to end; repair in any case."""
        self._repair(everything=calm)
        if calm or not self._left or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        if not self._deck:
            # All of them before any of them again, so that a short trial has seen each.
            self._deck = [
                self._kill_run,
                self._kill_slot,
                self._kill_run,
                self._restart_redis,
                self._kill_supervisor,
                self._kill_run,
                self._wipe_redis,
                self._kill_slot,
                self._restart_postgresql,
                self._fill_host,
                self._fill_evidence,
                self._restart_api,
                self._end_host,
                self._stop_supervisor,
            ]
            self._chance.shuffle(self._deck)
        name = self._deck.pop()()
        if name:
            self._left -= 1
            self.struck[name] += 1
            self._tell(name)

    def _repair(self, *, everything: bool) -> None:
        now = time.monotonic()
        for until, ballast in list(self._ballast):
            if everything or now > until:
                ballast.unlink(missing_ok=True)
                self._ballast.remove((until, ballast))
        for host in self._site.hosts:
            if not host.alive:
                # As systemd would.
                if host.process is not None:
                    host.process.wait()
                host.start()

    def _host(self) -> Host:
        return self._chance.choice(self._site.hosts)

    def _kill_run(self) -> str:
        return self._kill([run for host in self._site.hosts for run in host.runs()], "run killed")

    def _kill_slot(self) -> str:
        return self._kill([slot for host in self._site.hosts for slot in host.slots()], "slot killed")

    def _kill(self, processes: list[psutil.Process], name: str) -> str:
        if not processes:
            return ""
        try:
            self._chance.choice(processes).kill()
        except psutil.NoSuchProcess:
            return ""
        return name

    def _kill_supervisor(self) -> str:
        process = self._host().process
        assert process
        process.kill()
        return "supervisor killed"

    def _stop_supervisor(self) -> str:
        process = self._host().process
        assert process
        process.send_signal(signal.SIGTERM)
        return "supervisor restarted"

    def _end_host(self) -> str:
        process = self._host().process
        assert process
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return ""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for member in family:
                try:
                    member.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
        return "host ended"

    def _restart_redis(self) -> str:
        self._site.redis.kill()
        self._site.redis.start()
        return "redis restarted"

    def _wipe_redis(self) -> str:
        self._site.redis.kill()
        for path in self._site.redis.directory.glob("appendonly*"):
            shutil.rmtree(path)
        self._site.redis.start()
        return "redis restarted empty"

    def _restart_postgresql(self) -> str:
        self._site.postgresql.kill()
        time.sleep(1)
        self._site.postgresql.start()
        return "postgresql restarted"

    def _restart_api(self) -> str:
        self._site.kill_api()
        self._site.start_api()
        return "interface killed"

    def _fill_host(self) -> str:
        return self._filled(self._host().fill(), "disk of a host filled")

    def _fill_evidence(self) -> str:
        return self._filled(self._site.fill(), "disk for evidence filled")

    def _filled(self, ballast: Path | None, name: str) -> str:
        if ballast is None:
            return ""
        self._ballast.append((time.monotonic() + _FULL_S, ballast))
        return name
