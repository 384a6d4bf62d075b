"""Whose files: a dependency's start hooks are its own doing, and nobody can have it blamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest

from collector import ownership, timeline
from collector.bundle import Bundle
from collector.events import FileRead, FileRename, FileWrite
from collector.ownership import Ownership
from tests.collector.bundles import HOME, PYTHON, write_bundle
from tests.collector.traces import HOOK, Strace, real_phases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collector.events import AnyEvent

SITE = f"{HOME}/.venv/lib/python3.11/site-packages"
OWN = f"{SITE}/thing/__init__.py"
SECRET = f"{HOME}/.aws/credentials"
Told: TypeAlias = "Callable[..., tuple[AnyEvent, ...]]"


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Gives the events of a run of some phases."""

    def build(*traces: Strace) -> tuple[AnyEvent, ...]:
        texts = {trace.phase: trace.text() for trace in traces}
        path = write_bundle(tmp_path / "bundle", traces=texts, phases=real_phases())
        result = timeline.build(Bundle.open(path))
        assert not sum(counts.unparsed for counts in result.traces.values())
        return result.events

    return build


def unpack(trace: Strace, name: str, *files: str) -> None:
    """What pip does to install a wheel."""
    for file in files:
        trace.write(trace.root, f"{SITE}/{file}")
    record = f"{SITE}/{name}-1.0.dist-info/RECORD"
    trace.write(trace.root, record)
    trace.write(trace.root, f"{record}ab12_xyz.tmp")
    trace.rename(trace.root, f"{record}ab12_xyz.tmp", record)


def installed() -> tuple[Strace, Strace]:
    """Two dependencies, then the package."""
    dependencies, install = Strace("dependencies"), Strace("install")
    unpack(dependencies, "Helper_Kit", "helper.pth", "helper/__init__.py")
    unpack(dependencies, "other", "other.pth", "other.py")
    unpack(install, "thing", "thing/__init__.py", "thing.pth")
    return dependencies, install


def blamed(events: tuple[AnyEvent, ...], path: str = SECRET) -> list[str]:
    return [event.actor for event in events if isinstance(event, FileRead) and event.path == path]


def hooked(trace: Strace, pid: int) -> None:
    """An interpreter begins, with the hook of a dependency, which reads a secret and starts a program that does so."""
    trace.read(pid, "/usr/lib/python3.11/site.py")
    trace.read(pid, f"{SITE}/helper.pth")
    trace.read(pid, f"{SITE}/helper/__init__.py")
    trace.read(pid, SECRET)
    trace.read(trace.run(pid, "/bin/cat", "cat", SECRET), SECRET)


@pytest.mark.parametrize("phase", ["startup", "import", "exercise"])
def test_what_a_dependency_does_when_an_interpreter_starts_is_its_own(told: Told, phase: str) -> None:
    dependencies, install = installed()
    trace = Strace(phase)
    pid = trace.root if phase == "startup" else trace.fork(trace.root)
    trace.read(pid, "/usr/lib/python3.11/before.py")
    hooked(trace, pid)
    events = told(dependencies, install, trace)
    assert blamed(events) == ["dependency:helper-kit"] * 2
    assert blamed(events, "/usr/lib/python3.11/before.py") == ["target"]


def test_from_the_first_file_of_the_package_on_it_is_the_package(told: Told) -> None:
    dependencies, install = installed()
    trace = Strace("import")
    module = trace.fork(trace.root)
    below = trace.fork(module)
    hooked(trace, module)
    trace.read(module, OWN)
    hooked(trace, module)
    trace.read(trace.fork(module), SECRET)
    # A process that was there before has nothing of the package's.
    trace.read(below, f"{SITE}/other.py")
    trace.read(below, SECRET)
    assert blamed(told(dependencies, install, trace)) == [
        *["dependency:helper-kit"] * 2,
        *["target"] * 3,
        "dependency:other",
    ]


def test_two_dependencies_in_one_process_cannot_be_told_apart(told: Told) -> None:
    dependencies, install = installed()
    trace = Strace("startup")
    trace.read(trace.root, f"{SITE}/other.pth")
    hooked(trace, trace.root)
    assert blamed(told(dependencies, install, trace)) == ["dependency:unknown"] * 2


def test_a_program_of_the_package_is_the_package_whoever_starts_it(told: Told) -> None:
    dependencies, install = installed()
    install.write(install.root, f"{HOME}/.venv/bin/thing")
    trace = Strace("startup")
    trace.read(trace.root, f"{SITE}/helper.pth")
    trace.read(trace.run(trace.root, f"{HOME}/.venv/bin/thing"), SECRET)
    trace.read(trace.root, SECRET)
    assert blamed(told(dependencies, install, trace)) == ["target", "dependency:helper-kit"]


LAUNDRIES: list[Callable[[Strace, int], None]] = [
    lambda trace, pid: trace.write(pid, f"{SITE}/helper/__init__.py"),
    lambda trace, pid: trace.rename(pid, "/tmp/evil.py", f"{SITE}/helper/__init__.py"),
    lambda trace, pid: trace.rename(pid, "/tmp/evil", f"{SITE}/helper"),
    lambda trace, pid: trace.rename(pid, "/tmp/evil", SITE),
    lambda trace, pid: trace.symlink(pid, "/tmp/evil.py", f"{SITE}/helper/__init__.py"),
    lambda trace, pid: trace.call(pid, f'link("{SITE}/helper/__init__.py", "/tmp/alias")', "0"),
    lambda trace, pid: trace.call(pid, f'truncate("{SITE}/helper/__init__.py", 0)', "0"),
    lambda trace, pid: trace.rename(pid, "/tmp/evil.py", f"{HOME}/.venv/lib64/python3.11/site-packages/x.py"),
    lambda trace, pid: trace.rename(pid, "/tmp/evil.py", "/proc/77/cwd/x.py"),
    lambda trace, pid: (
        trace.symlink(pid, SITE, "/tmp/door"),
        trace.rename(pid, "/tmp/evil.py", "/tmp/door/helper/__init__.py"),
    )[0],
    # Another list of files, as if the package's own module came from the dependency.
    lambda trace, pid: (
        trace.write(pid, f"{SITE}/helper/__init__.py"),
        trace.rename(
            pid, f"{SITE}/helper_kit-1.0.dist-info/RECORDab12_xyz.tmp", f"{SITE}/helper_kit-1.0.dist-info/RECORD"
        ),
    )[0],
]


@pytest.mark.parametrize("launder", LAUNDRIES)
@pytest.mark.parametrize("who", ["hook", "pip"])
def test_the_package_cannot_have_a_dependency_blamed(
    told: Told, launder: Callable[[Strace, int], None], who: str
) -> None:
    dependencies, install = installed()
    pid = install.root if who == "pip" else install.run(install.root, PYTHON, *HOOK, cwd="/tmp/pip-req-build-0a1b2c3d")
    launder(install, pid)
    trace = Strace("import")
    hooked(trace, trace.fork(trace.root))
    assert blamed(told(dependencies, install, trace)) == ["target"] * 2


def test_a_wheel_cannot_have_another_dependency_blamed(told: Told) -> None:
    """It may bring a directory that looks like the other's metadata; only pip moves a RECORD to its place."""
    dependencies = Strace("dependencies")
    unpack(dependencies, "Helper_Kit", "other-9.dist-info/RECORD", "helper.pth", "helper/__init__.py")
    unpack(dependencies, "other", "other.py")
    trace = Strace("startup")
    hooked(trace, trace.root)
    assert blamed(told(dependencies, trace)) == ["dependency:helper-kit"] * 2


def test_a_build_in_the_dependencies_may_change_the_files_of_others_and_is_told_by_name(told: Told) -> None:
    dependencies, install = installed()
    hook = dependencies.run(dependencies.root, PYTHON, *HOOK, cwd=f"/tmp/pip-install-k3j2h1g0/evil_{'0a' * 16}")
    dependencies.write(hook, f"{SITE}/helper.pth")
    trace = Strace("startup")
    trace.read(trace.root, f"{SITE}/helper.pth")
    trace.read(trace.root, SECRET)
    assert blamed(told(dependencies, install, trace)) == ["dependency:evil"]


def test_what_pip_writes_without_a_record_has_no_name(told: Told) -> None:
    dependencies = Strace("dependencies")
    dependencies.write(dependencies.root, f"{SITE}/helper.pth")
    trace = Strace("startup")
    trace.read(trace.root, f"{SITE}/helper.pth")
    trace.read(trace.root, SECRET)
    assert blamed(told(dependencies, trace)) == ["dependency:unknown"]


def test_a_process_whose_memory_was_reached_is_the_intruders(told: Told) -> None:
    dependencies, install = installed()
    trace = Strace("import")
    victim, module = trace.fork(trace.root), trace.fork(trace.root)
    trace.read(victim, f"{SITE}/helper.pth")
    trace.read(module, OWN)
    inner = f"3 /* {victim} in strace's PID NS */"
    trace.call(module, f"process_vm_writev({inner}, [], 0, [], 0, 0)", "0")
    trace.read(victim, SECRET)
    assert blamed(told(dependencies, install, trace)) == ["target"]


def test_an_interpreter_that_was_changed_tells_nothing_of_whose_code_it_runs(told: Told) -> None:
    dependencies, install = installed()
    install.write(install.root, f"{HOME}/.venv/bin/python")
    trace = Strace("startup")
    hooked(trace, trace.root)
    assert blamed(told(dependencies, install, trace)) == ["target"] * 2


def test_with_too_many_files_all_are_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_MOST", 10)
    files = Ownership(SITE)
    for number in range(10):
        files.unpacked(FileWrite(phase="dependencies", path=f"{SITE}/{number}.py"))
    assert files.owner(f"{SITE}/7.py") == "dependency:unknown"
    files.changed(FileWrite(phase="install", path="/tmp/evil.py"), "target")
    assert {files.owner(path) for path in (f"{SITE}/7.py", "/tmp/evil.py", "/etc/hosts")} == {"target"}


def test_a_change_that_failed_is_none() -> None:
    files = Ownership(SITE)
    files.unpacked(FileWrite(phase="dependencies", path=f"{SITE}/a.py"))
    files.changed(FileWrite(phase="install", path=f"{SITE}/a.py", errno="EACCES"), "target")
    assert files.owner(f"{SITE}/a.py") == "dependency:unknown"
    files.changed(FileWrite(phase="install", path=f"{SITE}/a.py", errno="UNFINISHED"), "target")
    assert files.owner(f"{SITE}/a.py") == "target"


def test_a_file_named_through_a_link_of_the_environment_may_be_any_file() -> None:
    files = Ownership(SITE)
    files.unpacked(FileWrite(phase="dependencies", path=f"{SITE}/a.py"))
    link = f"{HOME}/.venv/lib64/python3.11/site-packages/a.py"
    files.changed(FileRename(phase="install", path=link, old="/tmp/evil.py"), "target")
    assert files.owner(f"{SITE}/a.py") == "target"
