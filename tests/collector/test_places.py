"""What an installer does outside its own places is not its own doing."""

from __future__ import annotations

import pytest

from collector.events import AnyEvent, FileRead, FileRename, FileWrite, NetworkConnect
from collector.places import Places

HOME = "/home/dev"


@pytest.mark.parametrize(
    ("event", "misled"),
    [
        (FileWrite(ts=1.0, phase="install", path=f"{HOME}/.bashrc"), True),
        (FileWrite(ts=1.0, phase="install", path=f"{HOME}/.venv/lib/x.py"), False),
        (FileWrite(ts=1.0, phase="install", path="/tmp/pip-build/x"), False),
        (FileWrite(ts=1.0, phase="install", path="/run/x"), True),
        (FileRename(ts=1.0, phase="install", path=f"{HOME}/.profile", old="/tmp/x"), True),
        (FileRead(ts=1.0, phase="install", path=f"{HOME}/.netrc"), False),
        (FileRead(ts=1.0, phase="install", path=f"{HOME}/.config/pip/pip.conf"), False),
        (FileRead(ts=1.0, phase="install", path=f"{HOME}/.aws/credentials"), True),
        (FileRead(ts=1.0, phase="install", path="/etc/pip.conf"), False),
        (NetworkConnect(ts=1.0, phase="install", ip="203.0.113.5", port=80), False),
    ],
)
def test_places(event: AnyEvent, misled: bool) -> None:
    assert Places(HOME).is_misled(event) is misled
