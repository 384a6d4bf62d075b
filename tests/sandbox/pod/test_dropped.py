"""What a package left is listed whole and within bounds, and no trap in it reaches whoever lists it."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from collector.dropped import Left, LeftEnd, LeftFile, LeftGone, LeftLink, LeftSpecial
from sandbox.pod import dropped
from sandbox.pod import places as within

if TYPE_CHECKING:
    from tests.sandbox.pod.bench import StartPod

SITE = "/home/dev/.venv/lib/python3.11/site-packages"
LATER = time.time() + 3600


class Places:
    """A home and a /tmp, and what a listing of them says."""

    def __init__(self, directory: Path) -> None:
        self.home, self.tmp = directory / "home", directory / "tmp"
        self.site = directory / SITE.lstrip("/")
        self.site.mkdir(parents=True)
        self.tmp.mkdir()
        self.target = directory / "dropped.jsonl"

    def listing(
        self, planted: dict[str, bytes] | None = None, links: dict[str, str] | None = None, settled: float = LATER
    ) -> dict[str, Left]:
        places = {"/home": str(self.home), "/tmp": str(self.tmp)}
        plan = dropped.Plan(places, planted or {}, links or {}, SITE, settled)
        self.target.unlink(missing_ok=True)
        dropped.write(plan, str(self.target))
        return read(self.target)


def read(path: Path) -> dict[str, Left]:
    records = [msgspec.json.decode(line, type=Left) for line in path.read_bytes().splitlines()]
    assert isinstance(records[-1], LeftEnd)
    assert records[-1].listed == len(records) - 1
    return {"end" if isinstance(record, LeftEnd) else record.path: record for record in records}


def end_of(found: dict[str, Left]) -> LeftEnd:
    end = found["end"]
    assert isinstance(end, LeftEnd)
    return end


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_files_are_described_and_what_is_as_it_was_is_only_counted(places: Places) -> None:
    (places.home / "dev/.netrc").write_bytes(b"as planted")
    (places.home / "dev/.bashrc").write_bytes(b"as planted; and more")
    (places.home / "dev/link").symlink_to("a")
    (places.tmp / "x").write_bytes(b"#!/bin/sh\n")
    (places.tmp / "x").chmod(0o4755)
    planted = {"/home/dev/.netrc": b"as planted", "/home/dev/.bashrc": b"as planted", "/home/dev/.key": b"k"}
    found = places.listing(planted, {"/home/dev/link": "a"})
    assert set(found) == {"/home/dev/.bashrc", "/home/dev/.key", "/tmp/x", "end"}
    assert found["/home/dev/.key"] == LeftGone(path="/home/dev/.key")
    changed, script = found["/home/dev/.bashrc"], found["/tmp/x"]
    assert isinstance(changed, LeftFile)
    assert changed.planted
    assert isinstance(script, LeftFile)
    assert (script.size, script.mode, script.head, script.planted) == (10, 0o4755, b"#!/bin/sh\n", False)
    assert script.sha256 == hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    assert end_of(found).planted == 2


def test_no_link_is_followed_and_nothing_blocks(places: Places, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("of the machine")
    (places.tmp / "file").symlink_to(canary / "secret")
    (places.tmp / "directory").symlink_to(canary)
    (places.home / "dev/loop").symlink_to("loop")
    os.mkfifo(places.tmp / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(places.tmp / "socket"))
        found = places.listing()
    assert found["/tmp/file"] == LeftLink(path="/tmp/file", target=str(canary / "secret"))
    assert found["/tmp/directory"] == LeftLink(path="/tmp/directory", target=str(canary))
    assert found["/tmp/pipe"] == LeftSpecial(path="/tmp/pipe", type="fifo")
    assert found["/tmp/socket"] == LeftSpecial(path="/tmp/socket", type="socket")
    assert b"of the machine" not in places.target.read_bytes()
    assert not any("secret" in path for path in found)


def test_a_place_that_became_a_link_is_not_entered(places: Places, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    places.tmp.rmdir()
    places.tmp.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        places.listing()


def test_what_was_installed_is_counted_and_what_only_says_so_is_listed(places: Places) -> None:
    (places.site / "thing.py").write_text("a = 1\n")
    (places.site / "longer.py").write_text("a = 12345\n")
    (places.site / "evil.pth").write_text("import thing\n")
    info = places.site / "thing-1.0.dist-info"
    info.mkdir()
    outside = "../../../../../../tmp/payload,,\n"
    (info / "RECORD").write_text(f"thing.py,sha256=x,6\nlonger.py,sha256=x,6\nthing-1.0.dist-info/RECORD,,\n{outside}")
    (places.tmp / "payload").write_bytes(b"x")
    settled = time.time() + 0.5
    time.sleep(1)
    late = places.site / "late.py"
    late.write_text("a = 1\n")
    other = places.site / "other-1.0.dist-info"
    other.mkdir()
    (other / "RECORD").write_text("late.py,,\nevil.pth,,\n")
    found = places.listing(settled=settled)
    listed = {path.removeprefix(f"{SITE}/") for path in found}
    assert listed == {
        "longer.py",
        "evil.pth",
        "late.py",
        "thing-1.0.dist-info/RECORD",
        "other-1.0.dist-info/RECORD",
        "/tmp/payload",
        "end",
    }
    assert end_of(found).installed == 1


@pytest.mark.parametrize(
    "record", [b"\x00,\xff,\n" * 9, b'"' + b"x" * 200_000, b"\n,,\n\xff\xfe,,9999999999999999999999\n", b""]
)
def test_a_broken_record_is_no_error(places: Places, record: bytes) -> None:
    info = places.site / "thing-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_bytes(record)
    assert end_of(places.listing()).installed == 0


def test_bytecode_beside_its_source_is_counted_and_nothing_else_in_a_cache(places: Places) -> None:
    cache = places.site / "__pycache__"
    cache.mkdir()
    (places.site / "thing.py").write_text("a = 1\n")
    code = b"\xa7\r\r\n" + bytes(12)
    (cache / "thing.cpython-311.pyc").write_bytes(code)
    (cache / "without.cpython-311.pyc").write_bytes(code)
    (cache / "thing.other.pyc").write_bytes(b"\x7fELF")
    (cache / "thing.txt").write_bytes(code)
    found = places.listing()
    assert end_of(found).caches == 1
    assert {Path(path).name for path in found} - {"thing.py"} == {
        "without.cpython-311.pyc",
        "thing.other.pyc",
        "thing.txt",
        "end",
    }


def test_names_that_no_one_can_read_are_names(places: Places) -> None:
    raw = os.fsencode(places.tmp)
    names = [b"\xff\xfe", b'a"\n\x1b[2J{"record":"end"}', "ü\u202e".encode(), b"n" * 255]
    for name in names:
        Path(os.fsdecode(raw + b"/" + name)).write_bytes(b"1")
    found = places.listing()
    assert set(found) == {"/tmp/" + name.decode("utf-8", "backslashreplace") for name in names} | {"end"}


def test_depth_number_and_size_are_bounded_and_counted(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = places.tmp
    for _ in range(dropped.MAX_DEPTH + 3):
        deep /= "d"
        deep.mkdir()
    (deep / "ground").touch()
    monkeypatch.setattr(dropped, "MAX_LISTED", 5)
    for number in range(9):
        (places.home / f"{number}").write_bytes(bytes(number + 1))
    monkeypatch.setattr(dropped, "MAX_HASHED", 10)
    with (places.tmp / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    end = end_of(places.listing())
    assert end.unlisted == 4 + 1
    assert end.listed == 5 + 1
    # 1 + 2 + 3 + 4 bytes, then no more.
    assert end.unhashed == 2
    monkeypatch.setattr(dropped, "MAX_SEEN", 3)
    assert end_of(places.listing()).unlisted > 0


def test_no_flood_hides_what_was_planted_or_calls_it_gone(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped, "MAX_LISTED", 2)
    monkeypatch.setattr(dropped, "MAX_SEEN", 4)
    deep = places.home / "dev/.ssh"
    deep.mkdir()
    (deep / "id_rsa").write_bytes(b"key")
    (deep / "config").write_bytes(b"changed")
    (deep / "link").symlink_to("b")
    for number in range(9):
        (places.home / f"{number}").touch()
    (places.home / "dev/.aws").symlink_to(places.tmp)
    (places.tmp / "credentials").touch()
    planted = {f"/home/dev/{name}": b"key" for name in (".ssh/id_rsa", ".ssh/config", ".aws/credentials")}
    found = places.listing(planted, {"/home/dev/.ssh/link": "a"})
    assert {path for path, record in found.items() if isinstance(record, LeftGone)} == {"/home/dev/.aws/credentials"}
    changed = found["/home/dev/.ssh/config"]
    assert isinstance(changed, LeftFile)
    assert changed.planted
    assert found["/home/dev/.ssh/link"] == LeftLink(path="/home/dev/.ssh/link", target="b")
    assert end_of(found).planted == 1
    assert end_of(found).unlisted > 0


def test_what_lists_name_beyond_the_bound_counts_as_left(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropped, "MAX_CLAIMED", 3)
    info = places.site / "thing-1.0.dist-info"
    info.mkdir()
    for number in range(5):
        (places.site / f"{number}").touch()
    (info / "RECORD").write_text("".join(f"{number},,\n" for number in range(5)))
    found = places.listing()
    assert end_of(found).installed == 3
    assert {f"{SITE}/3", f"{SITE}/4"} <= set(found)


def test_contents_are_kept_of_the_smallest_first(places: Places) -> None:
    for number in range(40):
        (places.tmp / f"{number:02}").write_bytes(b"x" * dropped.CONTENT)
    (places.tmp / "zz").write_bytes(b"y" * 5000)
    found = places.listing()
    kept = [len(record.head) for record in found.values() if isinstance(record, LeftFile)]
    assert sum(kept) <= dropped.CONTENTS + 41 * dropped.HEAD
    assert min(kept) == dropped.HEAD
    last = found["/tmp/zz"]
    assert isinstance(last, LeftFile)
    assert last.head == b"y" * 5000


def test_a_directory_with_more_names_than_are_looked_at_takes_no_time(places: Places) -> None:
    for number in range(5000):
        (places.tmp / f"{number}").touch()
    end = end_of(places.listing())
    assert (end.listed, end.unlisted) == (dropped.MAX_LISTED, 5000 - dropped.MAX_LISTED)


_LEAVES = """
import os, socket
home = os.environ["HOME"]
open(home + "/.netrc", "a").write("changed")
os.unlink(home + "/.aws/credentials")
os.symlink("/etc/shadow", "/tmp/link")
os.mkfifo("/run/pipe")
socket.socket(socket.AF_UNIX).bind("/var/tmp/socket")
open("/dev/shm/payload", "wb").write(b"\\x7fELF" + bytes(100))
with open("/tmp/secret", "w") as file:
    file.write("mine alone")
os.chmod("/tmp/secret", 0)
os.mkdir("/tmp/closed")
open("/tmp/closed/inside", "w").write("x")
os.chmod("/tmp/closed", 0)
if os.fork() == 0:
    import time
    while True:
        open("/tmp/busy", "a").write("x")
        time.sleep(0.01)
print("left")
"""


@pytest.mark.pod
def test_a_pod_lists_what_was_left_once_everything_has_ended(start_pod: StartPod) -> None:
    with start_pod() as bench:
        phase = bench.python(_LEAVES)
        assert bench.output(phase) == "left\n", bench.output(phase, "stderr")
        bench.pod.list_dropped("/home/martin/.venv/lib/python3.11/site-packages", time.time())
        found = read(bench.directory / "dropped.jsonl")
        assert bench.pod.stop() == ()
    names = {path.rpartition("/")[2]: record for path, record in found.items()}
    assert set(names) == {
        *(".netrc", "credentials", "link", "pipe", "socket", "payload", "secret", "inside", "busy", "end")
    }
    assert names["credentials"] == LeftGone(path="/home/martin/.aws/credentials")
    assert names["link"] == LeftLink(path="/tmp/link", target="/etc/shadow")
    assert names["pipe"] == LeftSpecial(path="/run/pipe", type="fifo")
    assert names["socket"] == LeftSpecial(path="/var/tmp/socket", type="socket")
    for name, path, mode in (("payload", "/dev/shm/payload", None), ("secret", "/tmp/secret", 0)):
        record = names[name]
        assert isinstance(record, LeftFile)
        assert record.path == path
        assert mode is None or record.mode == mode
    secret = names["secret"]
    assert isinstance(secret, LeftFile)
    assert secret.head == b"mine alone"
    assert end_of(found).faults == 0


@pytest.mark.pod
def test_a_listing_meets_a_full_place_and_does_not_fail(start_pod: StartPod) -> None:
    code = """
import os
try:
    with open("/tmp/full", "wb") as file:
        while True:
            file.write(bytes(1 << 20))
except OSError as error:
    print(error.errno)
"""
    with start_pod(disk_mb=16) as bench:
        phase = bench.python(code)
        assert bench.output(phase) == "28\n"
        bench.pod.list_dropped("/home/martin/.venv/lib/python3.11/site-packages", 0.0)
        found = read(bench.directory / "dropped.jsonl")
    assert isinstance(found["/tmp/full"], LeftFile)


def test_the_list_needs_only_the_standard_library() -> None:
    import ast  # noqa: PLC0415 - of this test alone

    trees = [ast.parse(Path(module.__file__).read_text()) for module in (dropped, within)]
    modules = {
        name if name.startswith("sandbox") else name.split(".")[0]
        for node in (node for tree in trees for node in ast.walk(tree))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules - sys.stdlib_module_names == {"sandbox.pod.places"}
