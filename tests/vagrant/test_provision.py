"""`.ci/provision`, as the Vagrantfile calls it, in a fresh Debian: a root filesystem of our own, without systemd."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.intake import read_pip_configuration
from tests.images.pods import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[2]
_SOURCE = "home/vagrant/fumehood"
_IGNORED = shutil.ignore_patterns(
    ".git", ".venv", ".vagrant", "build", "dist", ".*_cache", ".hypothesis", "__pycache__"
)
_CERTIFICATES = "/etc/machine-authorities.crt"
_ENTER = """
mount --bind "$TREE" "$TREE"
cd "$TREE"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs tmpfs tmp
mkdir -p old
pivot_root . old
umount --lazy /old
cd /
exec "$@"
"""
_SAYS_NO = "#!/bin/sh\n# As in a container's image: packages start no services.\nexit 101\n"


class Machine:
    """A fresh Debian's files, and a way to run commands with them as `/`, in pid and mount namespaces that end."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def run(self, *command: str) -> str:
        """Run as root; returns what it printed."""
        index = read_pip_configuration().index_urls()
        environment = {
            "TREE": str(self.tree),
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), _CERTIFICATES),
            **({"PIP_INDEX_URL": index[0]} if index else {}),
            **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
        }
        spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        enter = [*spaces, "sh", "-euc", _ENTER, "sh", *command]
        done = subprocess.run(enter, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Iterator[Machine]:
    """Debian with nothing but what it must have, our source as Vagrant copies it, and somebody's Docker settings."""
    if os.getuid() != 0:
        pytest.skip("a root filesystem that commands are run in as root takes root")
    tree = tmp_path_factory.mktemp("machine")
    program = (
        "import debian, pathlib, recipe; this = recipe.read_recipe(pathlib.Path('debian12-python'))\n"
        "print(*(f'--aptopt={option}' for option in debian.proxy_options()), this.suite, sep='\\n')\n"
        "print('TREE', *debian.sources(this), sep='\\n')"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT / "images", check=True, capture_output=True, text=True
    )
    words = [str(tree) if line == "TREE" else line for line in told.stdout.splitlines()]
    subprocess.run(["mmdebstrap", "--mode=root", "--variant=minbase", *words], check=True, capture_output=True)
    excluded = settings["folders"][f"/{_SOURCE}"]["rsync__exclude"]
    (tree / _SOURCE).mkdir(parents=True)
    copy = ["rsync", "--archive", *(f"--exclude={pattern}" for pattern in excluded), f"{_ROOT}/", str(tree / _SOURCE)]
    subprocess.run(copy, check=True)
    (tree / "usr/sbin/policy-rc.d").write_text(_SAYS_NO)
    (tree / "usr/sbin/policy-rc.d").chmod(0o755)
    (tree / "etc/docker").mkdir()
    (tree / "etc/docker/daemon.json").write_text('{"log-level": "warn"}')
    # The network as this machine has it.
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc", name), tree / "etc" / name)
    ours = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or ""
    shutil.copy(ours, tree / _CERTIFICATES.lstrip("/"))
    yield Machine(tree)
    shutil.rmtree(tree)


@pytest.mark.pod
@pytest.mark.early
@pytest.mark.timeout(1800)
def test_a_fresh_machine_is_ready_after_it(machine: Machine) -> None:
    said = machine.run(f"/{_SOURCE}/.ci/provision")
    assert said.splitlines()[-1].startswith("this machine is ready: ")
    settings = json.loads((machine.tree / "etc/docker/daemon.json").read_text())
    assert (settings["log-level"], settings["runtimes"]["runsc"]["path"]) == ("warn", "/usr/bin/runsc")
    for program in ("dockerd", "runsc", "redis-server", "bwrap", "strace", "nft", "fumehood"):
        machine.run("sh", "-c", f"command -v {shlex.quote(program)}")
    before = (machine.tree / "etc/docker/daemon.json").read_text()
    again = machine.run(f"/{_SOURCE}/.ci/provision")
    assert "installing" not in again
    assert (machine.tree / "etc/docker/daemon.json").read_text() == before
    make_wheel(machine.tree / "root", "thing", {"thing.py": "open('/etc/hostname').read()\n"})
    report = machine.run("fumehood", "run", "--quiet", "--format", "json", "/root/thing-1.0-py3-none-any.whl")
    assert json.loads(report)["verdict"] == "clean"
