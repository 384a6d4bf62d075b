"""Packages that try to get a clean verdict for what they do; each of these once did."""

from __future__ import annotations

import io
import ssl
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from collector import timeline
from collector.bundle import Bundle
from collector.events import FileRead
from tests.images.pods import make_wheel
from tests.sandbox.registry.index_server import digest, running
from tests.servers import certificates

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.settings import Settings
    from tests.run.conftest import Fumehood

pytestmark = pytest.mark.pod

CALL_HOME = 'import socket\nsocket.create_connection(("203.0.113.5", 80)).sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")\n'
READ_KEY = 'import posix\nposix.read(posix.open("/home/martin/.ssh/id_ed25519", posix.O_RDONLY), 9)\n'


def _titles(report: dict[str, Any], actor: str = "target") -> set[str]:
    return {finding["title"] for finding in report["findings"] if finding["actor"] == actor}


def _source(directory: Path, name: str, backend: str) -> Path:
    path = directory / f"{name}-1.0.tar.gz"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
    }
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{member}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize(
    "files",
    [
        {"odd/__init__.py": "", "odd-1.0.data/data/lib64/python3.11/site-packages/odd/late.py": CALL_HOME},
        {
            "odd.py": CALL_HOME,
            "odd-1.0.data/purelib/Odd-0.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: odd\nVersion: 0.9\n",
            "odd-1.0.data/purelib/Odd-0.9.dist-info/RECORD": "",
        },
    ],
    ids=["in-lib64", "second-metadata"],
)
def test_modules_cannot_be_hidden_from_the_importer(fumehood: Fumehood, tmp_path: Path, files: dict[str, str]) -> None:
    report = fumehood.run(make_wheel(tmp_path, "odd", files)).report
    assert "Unknown host contacted while importing" in _titles(report)


def test_the_environments_configuration_does_not_choose_what_the_drivers_run(
    fumehood: Fumehood, tmp_path: Path
) -> None:
    home = "/home/martin/.venv/share/odd"
    encodings = f"import sys\nif '--result-fd' in sys.orig_argv:\n  {READ_KEY.replace(chr(10), chr(10) + '  ')}\n"
    files = {
        "odd.py": READ_KEY,
        "odd-1.0.data/data/pyvenv.cfg": f"home = {home}/bin\n",
        "odd-1.0.data/data/share/odd/lib/python3.11/os.py": "",
        "odd-1.0.data/data/share/odd/lib/python3.11/lib-dynload/.keep": "",
        "odd-1.0.data/data/share/odd/lib/python3.11/encodings/__init__.py": encodings,
    }
    report = fumehood.run(make_wheel(tmp_path, "odd", files)).report
    # The module itself was imported: nobody forged its import, and nothing was blamed on the installer.
    assert "SSH keys or settings read" in _titles(report)
    assert _titles(report, "installer") == set()


def test_what_pip_writes_through_a_planted_link_is_the_packages_doing(fumehood: Fumehood, tmp_path: Path) -> None:
    backend = """
import os, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    os.symlink("/home/martin", "/home/martin/.venv/lib/python3.11/site-packages/odd_home")
    info = "odd-1.0.dist-info"
    with zipfile.ZipFile(directory + "/odd-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("odd_home/.bashrc", "true")
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: odd\\nVersion: 1.0\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "")
    return "odd-1.0-py3-none-any.whl"
"""
    report = fumehood.run(_source(tmp_path, "odd", backend)).report
    assert report["verdict"] == "malicious"
    assert "A shell start-up file is changed" in _titles(report)


def test_a_package_that_poses_as_pip_is_still_the_package(fumehood: Fumehood, tmp_path: Path) -> None:
    read = "import sys; open('/home/martin/.ssh/id_ed25519').read()"
    backend = f"""
import ctypes, os, shutil, subprocess, sys
ctypes.CDLL(None).prctl(15, b"pip", 0, 0, 0)
read = {read!r}
launcher = ["-I", "-S", "/opt/fumehood/pip_launcher.py", "install", "--no-deps", "--", "/opt/artefact/pose-1.0.tar.gz"]
# As pip's own interpreter with pip's own arguments, as the command pip, from pip's directory, and by a planted pip.py.
subprocess.run([sys.executable, *launcher], executable=sys.executable, check=False)
subprocess.run(["pip", "install", "-c", read], executable=sys.executable, check=False)
subprocess.run(["pip", "-c", read], executable=sys.executable, cwd="/opt/fumehood", check=False)
os.makedirs("/tmp/pose/pip", exist_ok=True)
for name in ("__init__.py", "__main__.py"):
    open("/tmp/pose/pip/" + name, "w").write(read)
subprocess.run([sys.executable, "-m", "pip", "install", "six"], cwd="/tmp/pose", check=False)
"""
    report = fumehood.run(_source(tmp_path, "pose", backend)).report
    (found,) = (one for one in report["findings"] if one["name"] == "ssh-keys-read")
    assert (found["phase"], found["actor"]) == ("install", "target")
    posed = {line["event"].split(" ")[1] for one in report["findings"] for line in one["evidence"]}
    assert posed == {"target"}
    assert found["count"] >= 2


def test_a_dependency_answers_for_its_own_start_hook_and_not_for_the_packages(
    fumehood: Fumehood, tmp_path: Path, settings: Settings
) -> None:
    """The package brings a file of its own under the name of another dependency's module."""
    read_aws = READ_KEY.replace(".ssh/id_ed25519", ".aws/credentials")
    wheels = [
        make_wheel(tmp_path, "helper_kit", {"a_helper.pth": "import a_helper\n", "a_helper.py": READ_KEY}),
        make_wheel(tmp_path, "victim", {"b_victim.pth": "import b_victim\n", "b_victim.py": ""}),
    ]
    odd = make_wheel(tmp_path, "odd", {"odd.py": "", "b_victim.py": read_aws}, requires=["helper-kit", "victim"])
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "images").symlink_to(settings.cache / "images")
    authority = certificates.make(tmp_path, "index.test")
    with running() as server:
        server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        for wheel in wheels:
            content = wheel.read_bytes()
            server.pages[f"/files/{wheel.name}"] = ("application/octet-stream", content)
            name = wheel.name.partition("-")[0].replace("_", "-")
            server.add_project(name, {f"https://index.test/files/{wheel.name}": digest(content)})
        index = {"PIP_INDEX_URL": "https://index.test/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_CERT": str(authority)}
        proxy = {"HTTPS_PROXY": server.base, "https_proxy": server.base, "NO_PROXY": "", "no_proxy": ""}
        options = ("run", "--format", "json", "--quiet")
        ran = fumehood(*options, odd, environment={**index, **proxy, "FUMEHOOD_CACHE": str(cache)})
    bundle = Bundle.open(fumehood.bundle())
    acts = {
        (event.phase, event.path.rpartition("/")[2], event.actor)
        for event in timeline.build(bundle).events
        if isinstance(event, FileRead) and event.path.endswith(("/id_ed25519", "/credentials"))
    }
    assert acts == {
        (phase, *act)
        for phase in ("startup", "import")
        for act in (("id_ed25519", "dependency:helper-kit"), ("credentials", "target"))
    }, ran.err
    told = {(finding["phase"], finding["actor"]) for finding in ran.report["findings"]}
    assert ("startup", "dependency:helper-kit") in told
    assert ("startup", "target") in told


def test_a_renamed_secret_is_still_the_secret(fumehood: Fumehood, tmp_path: Path) -> None:
    moves = ("os.rename('.ssh', 'x')", "open('x/id_ed25519').read()", "os.rename('x', '.ssh')")
    body = "\n".join(("import os", "os.chdir('/home/martin')", *moves))
    report = fumehood.run(make_wheel(tmp_path, "odd", {"odd.py": body})).report
    assert "SSH keys or settings read" in _titles(report)


def test_what_still_runs_at_the_end_is_a_gap(fumehood: Fumehood, tmp_path: Path) -> None:
    body = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(1000)\n"
    ran = fumehood.run(make_wheel(tmp_path, "odd", {"odd.py": body}))
    assert (ran.code, ran.report["verdict"]) == (3, "inconclusive"), ran.err
    assert any(reason.startswith("linger did not finish") for reason in ran.report["reasons"])


def test_modules_beside_a_package_are_not_taken_for_ours(fumehood: Fumehood, tmp_path: Path) -> None:
    """Who analyses a package often stands in its directory: nothing in there may be run outside the pod."""
    for name in ("sandbox", "collector", "msgspec", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f'open({str(tmp_path / "was-run")!r}, "a").write({name!r})\n')
    assert fumehood.run(make_wheel(tmp_path, "odd", {"odd.py": ""})).report["verdict"] == "clean"
    assert not (tmp_path / "was-run").exists()
