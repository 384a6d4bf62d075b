"""The machine's side notices what it is there to notice: else no attempt could fail its test."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.escape.attempt import Attempt, Differs
from tests.escape.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "machine").mkdir()
    with Host(tmp_path / "machine", tmp_path / "bundles") as host:
        yield host


def test_a_machine_that_is_left_alone_has_not_changed(host: Host) -> None:
    assert host.changes() == []


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_every_address_hears(host: Host, kind: str) -> None:
    assert host.targets[kind]
    for family, address in host.targets[kind]:
        with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as dialled:
            dialled.connect(address)
            dialled.send(b"x")
    _assert_heard(host, len(host.targets[kind]))


def test_unix_sockets_hear(host: Host) -> None:
    for name in (host.targets["path"], "\0" + host.targets["abstract"]):
        with socket.socket(socket.AF_UNIX) as dialled:
            dialled.connect(name)
    _assert_heard(host, 2)


def test_files_and_the_process_are_looked_at(host: Host) -> None:
    Path(host.targets["canary"]).write_text("changed")
    Path(host.targets["nest"], "laid").touch()
    os.setpriority(os.PRIO_PROCESS, host.targets["victim"], 19)
    assert [change.partition(":")[0] for change in host.changes()] == [
        "the process of ours",
        "the canary",
        "the directory around it",
    ]


def test_a_row_says_either_what_is_told_or_why_nothing_is() -> None:
    with pytest.raises(ValueError, match="say either"):
        Attempt(name="a", tries="b", code="c")
    with pytest.raises(ValueError, match="say either"):
        Attempt(name="a", tries="b", code="c", told="d", differs={"runsc": Differs(why="e", unseen="f")})


def _assert_heard(host: Host, servers: int) -> None:
    until = time.monotonic() + 120
    while len(host.heard) < servers and time.monotonic() < until:
        time.sleep(0.02)
    assert len([change for change in host.changes() if "heard something" in change]) == servers
