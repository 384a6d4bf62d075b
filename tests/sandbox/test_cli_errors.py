"""Errors that nobody foresaw: exit code 4, one line, and no value of anything secret; not even in the log of -vv."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_HIDDEN = "hunter-of-2-horses"
_ADDRESS = f"https://robot:{_HIDDEN}@index.example/simple"
_BROKEN = """
import os, sys
import sandbox.intake, sandbox.run
from collector.manifest import Image
from sandbox.entry import main
from sandbox.images import BaseImage

class Unforeseen(Exception):
    def __init__(self, configuration, address):
        self.configuration = configuration
        self.address = address
        super().__init__(*({carried}))

def broken(package, configuration, **others):
    address = os.environ["PIP_INDEX_URL"]
    assert configuration.index_url == address, "what is to be kept secret is at hand"
    raise Unforeseen(configuration, address)

sandbox.run.resolve = broken
image = Image(name="base", digest="", python="3.11.2", pip="23.0.1")
sandbox.run.images.ensure = lambda *_: BaseImage(rootfs="/", image=image, default_index_url="", registry_hosts=())
main()
"""


_EARLY = """
import os, signal, sys

class Interrupts:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts)
from sandbox.entry import main
main()
"""


@pytest.mark.parametrize("module", ["sandbox.cli", "click", "sandbox.commands"])
def test_ctrl_c_while_a_command_is_loaded_just_ends_it(tmp_path: Path, module: str) -> None:
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    ended = _run(heard + _EARLY.format(module=module), "queue", "status", directory=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")


def test_ctrl_c_while_a_command_works_is_one_line(tmp_path: Path) -> None:
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    ended = _run(heard + _EARLY.format(module="sandbox.queue_commands"), "queue", "status", directory=tmp_path)
    assert ended.returncode == 130
    assert ended.stderr == b"\nfumehood: interrupted; nothing is left running\n"


def test_who_is_not_to_hear_ctrl_c_does_not(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert _run(deaf + _EARLY.format(module="sandbox.cli"), "--version", directory=tmp_path).returncode == 0


def _run(code: str, *arguments: str, directory: Path, **changes: str) -> subprocess.CompletedProcess[bytes]:
    ours = {"PIP_INDEX_URL": _ADDRESS, "FUMEHOOD_BUNDLES": str(directory / "bundles")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        env={**os.environ, **ours, **changes},
        cwd=Path(__file__).resolve().parents[2],
    )


@pytest.mark.parametrize("verbose", [(), ("-v",), ("-vv",)], ids=["plain", "v", "vv"])
def test_an_internal_error_shows_no_password(tmp_path: Path, verbose: tuple[str, ...]) -> None:
    code = _BROKEN.format(carried="configuration,")
    ran = _run(code, *verbose, "run", "--quiet", "pkg:pypi/thing", directory=tmp_path)
    said = ran.stderr.decode()
    assert ran.returncode == 4, said
    assert ran.stdout == b""
    assert "internal error (Unforeseen); this is a bug" in said.splitlines()[-1]
    assert ("Traceback" in said) is bool(verbose), "only a log that was asked for has it"
    assert ("broken" in said) is bool(verbose)
    assert _HIDDEN not in said
    assert [path.name for path in (tmp_path / "bundles").iterdir() if path.is_dir()] == []


def test_an_internal_error_that_carries_a_secret_is_named_only_by_its_kind(tmp_path: Path) -> None:
    ran = _run(_BROKEN.format(carried="address,"), "run", "--quiet", "pkg:pypi/thing", directory=tmp_path)
    assert ran.returncode == 4
    assert ran.stderr.decode() == (
        "fumehood: internal error (Unforeseen); this is a bug: report what `fumehood -v ...` says\n"
    )


@pytest.mark.parametrize("where", ["file", "below a file", "not text"])
def test_a_cache_that_cannot_be(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("no directory")
    name = {"file": b"", "below a file": b"/below", "not text": b"/\xff\xfe"}[where]
    cache = os.fsdecode(os.fsencode(tmp_path / "file") + name)
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.touch()
    code = "from sandbox.entry import main; main()"
    ran = _run(code, "-vv", "run", "--quiet", str(wheel), directory=tmp_path, FUMEHOOD_CACHE=cache)
    assert ran.returncode == 4
    assert ran.stdout == b""
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(b"fumehood: cannot build the image debian12-python: ")
    assert re.search(rb"(File exists|Not a directory): '", last), last
    assert b"Traceback" not in ran.stderr
    assert _HIDDEN.encode() not in ran.stderr
