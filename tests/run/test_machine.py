"""Machines that lack something: one line that says what to do, the exit code for whose fault it is, no remains."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from sandbox.pod.tools import find_tools
from tests.images.pods import make_wheel
from tests.run.conftest import Ran
from tests.sandbox.registry.index_server import digest, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.settings import Settings
    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod

_CONTAINER = ["unshare", "--user", "--map-root-user"]
"""Root of a user namespace that knows one uid, as in a container that an ordinary user started."""
_PRIVATE = ["unshare", "--mount", "--propagation", "private", *(_CONTAINER[1:] if os.getuid() else ())]
"""Mounts made by this command's children are nobody else's."""


def _prepared(shell: str, arguments: Sequence[str | Path], bundles: Path, prefix: Sequence[str]) -> Ran:
    """Run `fumehood --quiet` where `shell` has changed something first, with `$BUNDLES` as the bundles' directory."""
    bundles.mkdir()
    command = [*prefix, "sh", "-euc", f'{shell}\nexec "$@"', "sh", Path(sys.executable).with_name("fumehood")]
    environment = {**os.environ, "FUMEHOOD_BUNDLES": str(bundles), "BUNDLES": str(bundles)}
    done = subprocess.run([*command, *arguments], check=False, capture_output=True, env=environment)
    return Ran(done.returncode, done.stdout, done.stderr.decode())


def _only_line(ran: Ran) -> str:
    assert ran.out == b""
    assert len(ran.err.splitlines()) == 1, ran.err
    assert ran.err.startswith("fumehood: ")
    return ran.err


def _left(bundles: Path) -> list[str]:
    return [path.name for path in bundles.iterdir() if path.is_dir()]


def test_forbidden_user_namespaces(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces"
    ran = _prepared(forbid, ("run", "--quiet", wheel), fumehood.bundles, _CONTAINER)
    assert ran.code == 4
    assert "user.max_user_namespaces" in _only_line(ran)
    assert _left(fumehood.bundles) == []


def test_a_container_whose_root_is_an_ordinary_user(fumehood: Fumehood, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": "open('/etc/hostname').read()\n"}, {"thing": "thing:f"})
    ran = _prepared(":", ("run", "--quiet", "--format", "json", wheel), fumehood.bundles, _CONTAINER)
    assert (ran.code, ran.err) == (0, "")
    assert ran.report["verdict"] == "clean"
    assert b'"uid_ranges": 1' in (fumehood.bundle() / "manifest.json").read_bytes()


@pytest.mark.parametrize(("program", "package"), [("strace", "strace"), ("bwrap", "bubblewrap"), ("nft", "nftables")])
def test_a_missing_program(fumehood: Fumehood, tmp_path: Path, program: str, package: str) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    nothing = tmp_path / "nothing"
    nothing.touch(mode=0o644)
    hide = f"mount --bind '{nothing}' '{getattr(find_tools(), program)}'"
    ran = _prepared(hide, ("run", "--quiet", wheel), fumehood.bundles, _PRIVATE)
    assert ran.code == 4
    assert _only_line(ran).endswith(f"apt-get install {package}\n")
    assert _left(fumehood.bundles) == []


def test_an_index_that_nobody_answers_for(fumehood: Fumehood) -> None:
    address = "http://127.0.0.1:9/simple"
    ran = fumehood("run", "--quiet", "pkg:pypi/thing", environment={"PIP_INDEX_URL": address})
    assert ran.code == 2
    line = _only_line(ran)
    assert f"{address} cannot be asked" in line
    assert "check the network, PIP_INDEX_URL" in line
    assert _left(fumehood.bundles) == []


def test_no_index_at_all(fumehood: Fumehood) -> None:
    ran = fumehood("run", "--quiet", "pkg:pypi/thing", environment={"PIP_NO_INDEX": "1"})
    assert ran.code == 2
    assert "give a local file" in _only_line(ran)
    assert _left(fumehood.bundles) == []


@pytest.mark.parametrize("index", ["gone", "refuses", "serves"])
def test_an_indexs_password_stands_nowhere(fumehood: Fumehood, tmp_path: Path, settings: Settings, index: str) -> None:
    wheel = make_wheel(tmp_path, "thing", {"thing.py": ""})
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "images").symlink_to(settings.cache / "images")
    user, password = "robot-7f3a", "correct horse/staple"
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    secrets = [user, password, "correct%20horse%2Fstaple", token]
    with running() as server:
        server.password = f"Basic {token if index == 'serves' else 'another'}"
        server.pages["/files/thing-1.0-py3-none-any.whl"] = ("application/octet-stream", wheel.read_bytes())
        link = f"{server.base}/files/thing-1.0-py3-none-any.whl"
        server.add_project("thing", {link: digest(wheel.read_bytes())})
        base = "http://127.0.0.1:9" if index == "gone" else server.base
        address = f"{base}/simple".replace("//", f"//{user}:correct%20horse%2Fstaple@")
        ours = {"PIP_INDEX_URL": address, "PIP_EXTRA_INDEX_URL": "", "FUMEHOOD_CACHE": str(cache)}
        ran = fumehood("-vv", "run", "--format", "json", "pkg:pypi/thing", environment={**ours, "NO_PROXY": "*"})
        asked = [headers.get("authorization") for _, _, headers in server.seen]
    assert ran.code == (0 if index == "serves" else 2), ran.err
    if index == "serves":
        assert f"Basic {token}" in asked, "the index was asked with the password"
        assert "thing-1.0" in ran.out.decode()
    said = ran.out.decode() + ran.err
    assert [secret for secret in secrets if secret in said] == []
    assert len(_left(fumehood.bundles)) == (index == "serves")
    kept = [path for top in (fumehood.bundles, cache) for path in top.rglob("*") if path.is_file()]
    assert any(wheel.read_bytes() == path.read_bytes() for path in kept) is (index == "serves")
    for path in kept:
        with path.open("rb") as stream:
            packed = path.suffix == ".zst"
            content = zstandard.ZstdDecompressor().stream_reader(stream).read() if packed else stream.read()
        assert [secret for secret in secrets if secret.encode() in content] == [], path


@pytest.mark.parametrize(("size", "code"), [("128k", 4), ("1m", 3), ("24m", 3)])
def test_a_disk_that_fills_during_the_run(fumehood: Fumehood, tmp_path: Path, size: str, code: int) -> None:
    # At a pace of a megabyte or two a second: what is kept free is not used up before a busy machine looks again.
    loop = "while True:\n  time.sleep(0.002)\n  try: open('/nowhere/' + 'x' * 3000)\n  except OSError: pass\n"
    wheel = make_wheel(tmp_path, "chatty", {"chatty.py": f"import time\n{loop}"})
    small = f'mount -t tmpfs -o size={size} none "$BUNDLES"'
    ran = _prepared(small, ("run", "--quiet", "--format", "json", wheel), fumehood.bundles, _PRIVATE)
    assert ran.code == code, ran.err
    if code == 4:
        line = _only_line(ran)
        assert "No space left on device" in line
        assert "set FUMEHOOD_BUNDLES" in line
    else:
        assert ran.err == ""
        assert ran.report["verdict"] == "inconclusive"
        assert any("the disk that holds the evidence had" in reason for reason in ran.report["reasons"])
