"""What `images/build` made, and how it keeps its store."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from sandbox.images import BaseImage
    from tests.images.pods import SmallPod

IMAGES = Path(__file__).resolve().parents[2] / "images"
FACTS = {"python": "3.11.2", "pip": "23.0.1", "registry": {}, "packages": {}}


class Store:
    """A copy of the recipes and a store in which the Debian part stands already, in miniature."""

    def __init__(self, directory: Path) -> None:
        self.recipes = directory / "images"
        shutil.copytree(IMAGES, self.recipes, ignore=shutil.ignore_patterns("__pycache__"))
        self.cache = directory / "cache"
        self.images = self.cache / "images"
        self.older = self.images / ("debian12-python-" + "0" * 16)
        (self.older / "rootfs/opt/fumehood").mkdir(parents=True)
        (self.older / "rootfs/opt/fumehood/old.py").touch()
        (self.older / "rootfs/part-of-debian").touch()
        program = "import sys, pathlib, recipe; print(recipe.read_recipe(pathlib.Path(sys.argv[1])).base_digest)"
        folder = str(self.recipes / "debian12-python")
        base = subprocess.run(
            [sys.executable, "-c", program, folder], cwd=self.recipes, capture_output=True, text=True, check=True
        )
        (self.older / "image.json").write_text(json.dumps({"base": base.stdout.strip(), **FACTS}))

    def start(self, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.recipes / "build"), "debian12-python", "--cache", str(self.cache), *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def build(self, *flags: str) -> Path:
        output, errors = (process := self.start(*flags)).communicate()
        assert process.returncode == 0, errors
        return Path(output.strip())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.mark.pod
def test_the_registry_is_what_the_images_pip_says(base_image: BaseImage, small_pod: SmallPod) -> None:
    program = "from pip._internal.models.index import PyPI as p; print(p.simple_url, p.netloc, p.file_storage_domain)"
    url, *hosts = small_pod.run("/usr/bin/python3", "-c", program).stdout.split()
    assert (base_image.default_index_url, base_image.registry_hosts) == (url, tuple(hosts))
    assert urlsplit(url).hostname in hosts


@pytest.mark.pod
def test_the_description_fits_the_tree(base_image: BaseImage, small_pod: SmallPod) -> None:
    described = json.loads((base_image.rootfs.parent / "image.json").read_text())
    assert small_pod.run("/usr/bin/python3", "--version").stdout == f"Python {described['python']}\n"
    shown = small_pod.run("dpkg-query", "--show", "--showformat", "${binary:Package}\t${Version}\n").stdout
    assert described["packages"] == dict(line.split("\t") for line in shown.splitlines())
    assert len(described["digest"]) == 64


@pytest.mark.pod
def test_the_tree_is_readable_by_all_without_privileges_and_devices(base_image: BaseImage) -> None:
    private = {base_image.rootfs / name for name in ("root", "etc/shadow", "etc/gshadow", "etc/ssl/private")}
    for path in base_image.rootfs.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode), path
        if not stat.S_ISLNK(mode) and private.isdisjoint({path, *path.parents}):
            assert mode & 0o444 == 0o444, path
            assert not stat.S_ISREG(mode) or not mode & (stat.S_ISUID | stat.S_ISGID), path


@pytest.mark.pod
@pytest.mark.parametrize("name", ["etc/resolv.conf", "etc/hosts", "etc/pip.conf", "opt/artefact", "home", "etc/passwd"])
def test_what_pods_bind_over_exists(base_image: BaseImage, name: str) -> None:
    assert (base_image.rootfs / name).exists()


@pytest.mark.pod
def test_tools_that_packages_expect_are_there(small_pod: SmallPod) -> None:
    tools = "bash cc c++ make git curl wget nc ssh xxd zip unzip dig openssl pkg-config ps"
    found = small_pod.run("sh", "-c", f"for tool in {tools}; do command -v $tool || exit 1; done")
    assert len(found.stdout.splitlines()) == len(tools.split())


def test_a_changed_driver_shares_the_debian_part(store: Store) -> None:
    first = store.build()
    (store.recipes / "debian12-python/drivers/importer.py").write_text("# changed\n")
    second = store.build()
    assert first != second
    assert (second / "rootfs/opt/fumehood/importer.py").read_text() == "# changed\n"
    assert (first / "rootfs/opt/fumehood/importer.py").read_text() != "# changed\n"
    assert not (second / "rootfs/opt/fumehood/old.py").exists()
    assert (second / "rootfs/part-of-debian").samefile(store.older / "rootfs/part-of-debian")
    assert (second / "rootfs/opt/fumehood/only-pip/pip").is_symlink()


def test_nothing_is_done_when_it_is_there(store: Store) -> None:
    first = store.build()
    before = (first / "image.json").stat()
    assert store.build() == first
    assert (first / "image.json").stat() == before
    assert store.older.exists(), "older versions stay unless asked"


def test_older_versions_go_when_asked(store: Store) -> None:
    unrelated = store.images / "debian12-python-extra-0123456789abcdef"
    unrelated.mkdir()
    target = store.build("--prune")
    assert not store.older.exists()
    assert target.exists()
    assert unrelated.exists()


def test_what_a_crashed_build_left_is_removed(store: Store) -> None:
    left = store.images / ".building-debian12-python-crashed"
    (left / "rootfs").mkdir(parents=True)
    target = store.build()
    assert not left.exists()
    assert {path.name for path in store.images.iterdir()} == {target.name, store.older.name, ".debian12-python.lock"}


def test_concurrent_builders_get_the_same_image(store: Store) -> None:
    builders = [store.start() for _ in range(4)]
    outputs = {builder.communicate()[0] for builder in builders}
    assert len(outputs) == 1
    assert all(builder.returncode == 0 for builder in builders)


def test_every_file_of_the_recipe_counts(store: Store) -> None:
    seen = {store.build("--digest")}
    for path in sorted(p for p in (store.recipes / "debian12-python").rglob("*") if p.is_file()):
        path.write_bytes(path.read_bytes() + b"# more\n")
        digest = store.build("--digest")
        assert digest not in seen, path
        seen.add(digest)
