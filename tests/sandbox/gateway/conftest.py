"""The real gateway process in a network namespace of its own, and clients inside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pytest

from collector.records import GatewayRecord, Record
from sandbox.gateway.ca import create_authority
from sandbox.pod.network import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]
SETUP = """
set -e
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
nft -f "$0"
exec "$@"
"""
NEEDED = {"unshare": "util-linux", "nsenter": "util-linux", "nft": "nftables", "ip": "iproute2", "curl": "curl"}
"""Program -> the package of Debian it is in."""
FAST = {"silence_seconds": 0.3, "idle_seconds": 1.0, "keepalive_seconds": 1.0, "connection_seconds": 8.0}
R = TypeVar("R", bound=Record)


class Pod:
    """A namespace with a gateway in it."""

    def __init__(self, directory: Path, prefix: tuple[str, ...] = (), *, fails: bool = False, **config: Any) -> None:
        self.directory = directory
        self.fails = fails
        self.ca = directory / "ca.pem"
        self.records_path = directory / "gateway.jsonl"
        authority = create_authority()
        self.ca.write_bytes(authority.certificate_pem)
        (directory / "ca.key").write_bytes(authority.key_pem)
        (directory / "scratch").mkdir()
        limits = FAST | config.pop("limits", {})
        document = {
            "tcp_port": 9000,
            "dns_port": 5353,
            "records": str(config.pop("records", self.records_path)),
            "capture": str(config.pop("capture", directory / "capture.pcapng")),
            "scratch": str(directory / "scratch"),
            "ca_certificate": str(self.ca),
            "ca_key": str(directory / "ca.key"),
            "limits": limits,
            **config,
        }
        (directory / "config.json").write_text(json.dumps(document))
        rules = directory / "rules.nft"
        rules.write_text(RULES.format(dns=5353, tcp=9000))
        gateway = [*prefix, sys.executable, "-m", "sandbox.gateway", str(directory / "config.json")]
        self.errors = (directory / "stderr").open("wb")
        self.process = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", SETUP, str(rules), *gateway],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said == (b"" if fails else b"ready\n"), (directory / "stderr").read_text()

    @property
    def enter(self) -> list[str]:
        return ["nsenter", "--user", "--net", "--preserve-credentials", "-t", str(self.process.pid), "--"]

    def run(self, *argv: str, text: bytes = b"", seconds: float = 20) -> bytes:
        """Run a client inside the namespace and return its output (standard output and error)."""
        done = subprocess.run(
            [*self.enter, *argv],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            # Nothing of this machine's proxies and certificates.
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), "NO_PROXY": "*"},
        )
        return done.stdout

    def python(self, code: str) -> bytes:
        """Run Python code inside; `CA` is the path of the run's authority."""
        return self.run(sys.executable, "-I", "-c", self._prelude + code)

    def spawn(self, code: str) -> subprocess.Popen[bytes]:
        """Start Python code inside and go on."""
        return subprocess.Popen([*self.enter, sys.executable, "-I", "-c", self._prelude + code])

    @property
    def _prelude(self) -> str:
        return f"import socket, ssl, time, json, sys\nCA = {str(self.ca)!r}\n"

    def wait_for(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def curl(self, *arguments: str) -> bytes:
        return self.run("curl", "-sS", "-m", "15", "--cacert", str(self.ca), *arguments)

    def records(self, kind: type[R], accept: Callable[[R], bool] = lambda _: True, count: int = 1) -> list[R]:
        """Wait until as many records of a kind are written, and return all of them."""
        deadline = time.monotonic() + 120
        while True:
            found: list[R] = [record for record in self.all() if isinstance(record, kind) and accept(record)]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def all(self) -> list[GatewayRecord]:
        lines = self.records_path.read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=GatewayRecord) for line in lines]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()
        return code


@pytest.fixture(scope="session")
def _machine() -> None:
    """A machine that lacks something must not look like one on which all is well."""
    missing = sorted({package for program, package in NEEDED.items() if not shutil.which(program)})
    if missing:
        pytest.fail(f"the gateway's tests need more programs: apt-get install {' '.join(missing)}")
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "true"], check=False, capture_output=True)
    if done.returncode:
        pytest.fail(f"the gateway's tests need user namespaces, as fumehood does: {done.stderr.decode()}")


@pytest.fixture
def start(tmp_path: Path, _machine: None) -> Iterator[Callable[..., Pod]]:
    pods: list[Pod] = []

    def launch(**config: Any) -> Pod:
        directory = tmp_path / f"pod{len(pods)}"
        directory.mkdir()
        pods.append(Pod(directory, **config))
        return pods[-1]

    yield launch
    for pod in pods:
        code = pod.stop()
        if pod.fails:
            continue
        assert code == 0
        # Whatever was sent, nothing went wrong in the gateway.
        assert (pod.directory / "stderr").read_text() == ""
        assert list((pod.directory / "scratch").iterdir()) == []


@pytest.fixture
def pod(start: Callable[..., Pod]) -> Pod:
    return start()
