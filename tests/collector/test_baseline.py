"""Baselines: the same act of another run has the same shape, another act has not, and nothing that counts is hidden."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.analyse import analyse
from collector.baseline import BASELINE, SCHEMA, Baseline, Recorded, Shaper, Usual, read
from collector.bundle import Bundle
from collector.errors import BundleError
from collector.events import FileRead
from collector.report import to_json
from collector.sigma.rule import RuleSet
from tests.collector.bundles import HOME, compressed, make_manifest, make_package, write_bundle
from tests.collector.reports import make_events
from tests.collector.sigma.sigmas import load, rule
from tests.collector.traces import COMMANDS, Strace, real_phases

if TYPE_CHECKING:
    from pathlib import Path

    from collector.manifest import Manifest

SITE = f"{HOME}/.venv/lib/python3.11/site-packages"
EMPTY = Shaper(make_manifest(package=make_package("fumehood-empty", "1.0")))
THING = Shaper(make_manifest(package=make_package("Some.Thing", "2.31.0")))


def shape(shaper: Shaper, line: str) -> str:
    return shaper.shape(make_events(line)[0])


@pytest.mark.parametrize(
    ("empty", "thing"),
    [
        (
            "install installer 12 file.write path=/tmp/pip-build-env-x1_y2z3w/normal/lib/python3.11/site-packages/a.py",
            "install installer 99 file.write path=/tmp/pip-build-env-aaaa0000/normal/lib/python3.11/site-packages/b.py",
        ),
        (
            f"install installer 12 file.write path={SITE}/fumehood_empty-1.0.dist-info/METADATA",
            f"install installer 12 file.write path={SITE}/some_thing-2.31.0.dist-info/METADATA",
        ),
        (
            f"import target 12 file.read path={SITE}/fumehood_empty/__init__.py",
            f"import target 13 file.read path={SITE}/some_thing/__init__.py",
        ),
        ("import target 12 file.read path=/proc/12/maps", "import target 7 file.read path=/proc/7/maps"),
        (
            'install target 5 process.exec image=/usr/bin/gcc argv=["gcc","/tmp/tmpab12cd34/x.c"] parent=4',
            'install target 9 process.exec image=/usr/bin/gcc argv=["gcc","/tmp/tmpzz_9xy81/x.c"] parent=8',
        ),
        (
            "install installer 1 http.request method=GET host=index.example target=/simple/a/ role=registry size=1",
            "install installer 2 http.request method=GET host=files.example target=/b.whl role=registry",
        ),
        (
            "dependencies dependency:a 3 file.read path=/etc/hosts",
            "dependencies dependency:b 4 file.read path=/etc/hosts",
        ),
        (
            f"install installer 1 file.read path={HOME}/.cache/pip/http/a/b",
            f"install installer 1 file.read path={HOME}/.cache/pip/http/c/d",
        ),
    ],
)
def test_the_same_act_in_another_run_has_the_same_shape(empty: str, thing: str) -> None:
    assert shape(EMPTY, empty) == shape(THING, thing) != ""


READ = f"import target 12 file.read path={SITE}/some_thing/__init__.py"


@pytest.mark.parametrize(
    "other",
    [
        READ.replace("import", "startup"),
        READ.replace("target", "installer"),
        READ.replace("file.read", "file.write"),
        READ.replace("__init__", "extra"),
        f"{READ} errno=ENOENT",
    ],
)
def test_another_act_has_another_shape(other: str) -> None:
    assert shape(THING, READ) != shape(THING, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("network.connect ip=192.0.2.1 port=53 protocol=udp", "network.connect ip=203.0.113.9 port=53 protocol=udp"),
        ("network.connect ip=192.0.2.1 port=53", "network.connect ip=192.0.2.1 port=4444"),
        ("dns.query name=a.test", "dns.query name=b.test"),
        ("http.request method=GET host=a.test target=/", "http.request method=GET host=a.test target=/x"),
        ('process.exec image=/bin/sh argv=["sh","-c","id"]', 'process.exec image=/bin/sh argv=["sh","-c","w"]'),
    ],
)
def test_strangers_and_commands_are_told_apart(one: str, other: str) -> None:
    assert shape(THING, f"install target 5 {one}") != shape(THING, f"install target 5 {other}")


def test_what_pip_unpacks_counts_by_place_and_ending() -> None:
    def unpacked(name: str, actor: str = "installer") -> str:
        return shape(THING, f"install {actor} 5 file.write path={SITE}/{name}")

    assert unpacked("a/b.py") == unpacked("c.py")
    # A start hook is not a module, and what the package writes there itself is not pip's unpacking.
    assert unpacked("a.pth") != unpacked("a.py")
    assert unpacked("a.py", "target") != unpacked("b.py", "target")


def test_an_event_with_bait_is_never_usual() -> None:
    asked = "import target 12 dns.query name=a.test"
    assert shape(THING, asked) != ""
    assert shape(THING, asked + ' bait=["gh-token/hex"]') == ""
    recorded = "install installer 1 http.request method=GET host=index.example target=/ role=registry"
    assert shape(THING, recorded + ' bait=["gh-token/plain"]') == ""


def recorded(*shapes: str, image: str = "b" * 64) -> bytes:
    packages = (Recorded(name="wheel", completed=True),)
    made = Baseline(schema=SCHEMA, image=image, pod="bubblewrap", recorded=packages, shapes=shapes)
    return compressed(msgspec.json.encode(made))


def bundle(path: Path, baseline: bytes | None) -> Bundle:
    traces = {phase: Strace(phase) for phase, argv in COMMANDS.items() if argv}
    traces["import"].read(traces["import"].root, "/etc/hosts")
    child = traces["import"].run(traces["import"].root, "/usr/bin/python3.11", "python", "-c", "x")
    traces["import"].read(child, f"{HOME}/.ssh/id_rsa")
    traces["import"].exit(child)
    for one in traces.values():
        one.exit(one.root)
    texts = {phase: one.text() for phase, one in traces.items()}
    extra = {} if baseline is None else {BASELINE: baseline}
    return Bundle.open(write_bundle(path, phases=real_phases(), traces=texts, extra=extra))


def test_a_report_counts_what_is_as_in_an_empty_package_and_findings_stay(tmp_path: Path) -> None:
    rules = RuleSet(tuple(load(rule())), "")
    without = json.loads(to_json(analyse(bundle(tmp_path / "a", None), rules)))
    assert without["baseline"] is None
    (finding,) = without["findings"]
    manifest = bundle(tmp_path / "b", None).manifest
    key = Shaper(manifest).shape(make_events(finding["evidence"][0]["event"])[0])
    hosts = key.replace("~/.ssh/id_rsa", "/etc/hosts")
    with_it = json.loads(to_json(analyse(bundle(tmp_path / "c", recorded(*sorted((key, hosts)))), rules)))
    total = sum(with_it["events"].values())
    assert 1 <= with_it["baseline"]["events"] <= 2
    assert with_it["baseline"]["of"] == total
    assert with_it["baseline"]["recorded"] == [{"name": "wheel", "completed": True}]
    # Even what an empty package did is a finding when a rule says so.
    assert with_it["findings"] == without["findings"]
    assert with_it["verdict"] == without["verdict"] == "suspicious"


_WHOLE = (
    (r"/proc/[0-9]+", "/proc/N"),
    (r"(/tmp/pip-[a-z-]+-)[a-z0-9_]{8}", r"\1X"),
    (r"(/tmp/|/)(\.?tmp|pymp-)[A-Za-z0-9_]{6,8}(?=/|\.|$)", r"\1\2X"),
    (r"[a-z0-9_]{8}\.tmp$", "X.tmp"),
    (r"~/\.cache/pip/.+", "~/.cache/pip/*"),
    (r"[0-9a-f]{16,}", "H"),
    (r"\.(pyc|so|tmp)\.[0-9]+", r".\1.N"),
    (r"[0-9]{5,}", "N"),
)
_PLACE = (
    r"((?:/tmp/pip-build-env-X/[a-z]+|~/\.venv)/lib(?:64)?/python[0-9.]+/site-packages|/tmp/pip-[a-z-]+-X)/.*?"
    r"(\.[A-Za-z]+)?(?:\.N)?"
)


def said_plainly(text: str, manifest: Manifest, *, unpacks: bool) -> str:
    """What a path becomes, by expressions alone: without any of the short cuts."""
    name = "[-_.]+".join(re.escape(part) for part in re.split(r"[-_.]+", manifest.package.name) if part)
    own = rf"(?<![A-Za-z0-9]){name}(?:[-_]{re.escape(manifest.package.version)})?(?![A-Za-z0-9])"
    made = re.sub(own, "PACKAGE", text.replace(manifest.home, "~"), flags=re.IGNORECASE)
    for pattern, place in _WHOLE:
        made = re.sub(pattern, place, made)
    if unpacks and (unpacked := re.fullmatch(_PLACE, made)):
        made = f"{unpacked[1]}/*{unpacked[2] or ''}"
    return made


_PIECES = (
    "/proc/", "12", "123456", "/tmp/", "/tmp/pip-unpack-", "tmp", "/.tmp", "pymp-", "abcdef12", "a1b2c3d4e5f60718", "/",
    ".tmp", ".pyc", ".so", ".", ".N", "x.tar.gz", "sample", "Sample_1.0", "\u017fample", "\n", "-", "_",
    f"{HOME}/.cache/pip/", f"{HOME}/.venv/lib/python3.11/site-packages/",
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(st.sampled_from(_PIECES), max_size=7).map("".join), st.sampled_from(["installer", "target"]))
def test_the_short_cuts_change_no_shape(path: str, actor: str) -> None:
    manifest = make_manifest(package=make_package("sample", "1.0"))
    event = FileRead(phase="install", actor=actor, path=path)
    expected = said_plainly(path, manifest, unpacks=actor == "installer")
    words = [f"path={expected}"] if path else []
    assert Shaper(manifest).shape(event) == " ".join(["install", actor, "file.read", *words])


def test_marks_are_in_the_order_of_the_events() -> None:
    manifest = make_manifest()
    events = make_events(READ, "import target 1 dns.query name=a.test")
    usual = Baseline(
        schema=SCHEMA, image="", pod="bubblewrap", recorded=(), shapes=(Shaper(manifest).shape(events[1]),)
    )
    known = Usual(usual, manifest)
    assert [known.has(event) for event in [*events, *events]] == [False, True, False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (recorded(image="c" * 64), "it is of another image"),
        (compressed(b"{"), "not as it must be"),
        (compressed(b'{"schema": "fumehood.baseline/2"}'), "not as it must be"),
    ],
)
def test_a_baseline_that_does_not_fit_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read(bundle(tmp_path / "b", content))
