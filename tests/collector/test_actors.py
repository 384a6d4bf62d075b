"""Actors: pip's own doings are the installer's, and a package cannot make its doings look like pip's."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import timeline
from collector.attribution import attribute
from collector.bundle import Bundle
from collector.events import AnyEvent, FileRead, ProcessExec, ProcessStart
from collector.live_processes import ProcessTableBuilder
from collector.syscalls import read_trace
from tests.collector.bundles import HOME, PYTHON, make_manifest, write_bundle
from tests.collector.traces import BUILD_REQUIREMENT, COMMANDS, HOOK, LAUNCHER, Strace, real_phases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUILD = "/tmp/pip-req-build-0a1b2c3d"
TREE = f"/tmp/pip-install-k3j2h1g0/Odd_Name_{'0a' * 16}"
GCC = "/usr/bin/x86_64-linux-gnu-gcc-12"
CC1 = "/usr/lib/gcc/x86_64-linux-gnu/12/cc1"
Told: TypeAlias = "Callable[[Strace], tuple[AnyEvent, ...]]"


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Gives the events of a run in which only one phase did anything."""

    def build(trace: Strace) -> tuple[AnyEvent, ...]:
        path = write_bundle(tmp_path / "bundle", traces={trace.phase: trace.text()}, phases=real_phases())
        result = timeline.build(Bundle.open(path))
        assert result.traces[trace.phase].unparsed == 0
        return result.events

    return build


def actors(events: tuple[AnyEvent, ...]) -> dict[str, str]:
    """Actor of each file by the last part of its name."""
    return {event.path.rpartition("/")[2]: event.actor for event in events if isinstance(event, FileRead)}


@pytest.mark.parametrize(
    ("phase", "root", "child"),
    [
        ("dependencies", "installer", "dependency:unknown"),
        ("install", "installer", "target"),
        ("startup", "target", "target"),
        ("import", "installer", "target"),
        ("exercise", "installer", "target"),
    ],
)
def test_the_root_of_a_phase_and_what_it_starts(told: Told, phase: str, root: str, child: str) -> None:
    trace = Strace(phase)
    trace.read(trace.root, "/data/root")
    trace.read(trace.run(trace.root, "/usr/bin/true"), "/data/child")
    events = told(trace)
    assert actors(events) == {"root": root, "child": child}
    first = events[0]
    assert isinstance(first, ProcessExec)
    assert (first.argv, first.actor) == (COMMANDS[phase], root)


def test_threads_of_pip_are_pip(told: Told) -> None:
    trace = Strace("install")
    flags = "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM"
    trace.call(trace.root, f"clone(child_stack=0x7f00, flags={flags})", "9 /* 777 in strace's PID NS */")
    trace.read(777, f"{HOME}/.netrc")
    assert actors(told(trace)) == {".netrc": "installer"}


def test_a_fork_of_pip_is_pip_until_it_executes(told: Told) -> None:
    trace = Strace("install")
    child = trace.fork(trace.root)
    trace.exec(child, f"{HOME}/.local/bin/git", ("git",), error="-1 ENOENT (No such file or directory)")
    trace.exec(child, "/usr/bin/git", ("git", "clone"))
    executed = [(event.image, event.actor) for event in told(trace) if isinstance(event, ProcessExec)]
    assert executed[1:] == [(f"{HOME}/.local/bin/git", "installer"), ("/usr/bin/git", "target")]


def test_a_fork_of_the_importer_is_the_package(told: Told) -> None:
    trace = Strace("import")
    child = trace.fork(trace.root)
    trace.read(child, "/data/module")
    events = told(trace)
    assert actors(events) == {"module": "target"}
    assert [event.actor for event in events if isinstance(event, ProcessStart)] == ["target"]


def test_build_requirements_are_pips_doing_and_their_builds_are_dependencies(told: Told) -> None:
    trace = Strace("install")
    nested = trace.run(trace.root, PYTHON, *BUILD_REQUIREMENT)
    trace.read(nested, "/data/nested-pip")
    hook = trace.run(nested, PYTHON, *HOOK, cwd=TREE)
    trace.read(hook, "/data/hook")
    trace.read(trace.run(hook, "/usr/bin/true"), "/data/below-hook")
    trace.read(trace.run(nested, PYTHON, *HOOK, cwd="/tmp/elsewhere"), "/data/nameless")
    trace.read(trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD), "/data/own-hook")
    assert actors(told(trace)) == {
        "nested-pip": "installer",
        "hook": "dependency:odd-name",
        "below-hook": "dependency:odd-name",
        "nameless": "dependency:unknown",
        "own-hook": "target",
    }


def test_what_a_nested_pip_executes_is_not_pip_any_more(told: Told) -> None:
    trace = Strace("install")
    nested = trace.run(trace.root, PYTHON, *BUILD_REQUIREMENT)
    trace.exec(nested, PYTHON, BUILD_REQUIREMENT)
    trace.read(nested, "/data/again")
    assert actors(told(trace)) == {"again": "dependency:unknown"}


def test_dependencies_are_named_by_the_tree_they_are_built_in(told: Told) -> None:
    trace = Strace("dependencies")
    shim = f"exec(compile(open('{TREE}/setup.py').read(), 'setup.py', 'exec'))"
    trace.read(trace.run(trace.root, PYTHON, "-c", shim, "egg_info"), "/data/shim")
    assert actors(told(trace)) == {"shim": "dependency:odd-name"}


def test_the_machine_is_asked_by_pip(told: Told) -> None:
    trace = Strace("install")
    tool = trace.run(trace.root, "/usr/bin/lsb_release", "lsb_release", "-a")
    trace.read(tool, "/data/tool")
    trace.read(trace.run(trace.root, f"{HOME}/.venv/bin/lsb_release"), "/data/planted")
    assert actors(told(trace)) == {"tool": "installer", "planted": "target"}


def test_compilers_of_the_image_are_the_build_backend(told: Told) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    gcc = trace.run(hook, GCC, "gcc", "-c", "x.c")
    trace.read(gcc, "/etc/ld.so.cache")
    cc1 = trace.run(gcc, CC1, "cc1", "x.c")
    trace.read(cc1, "/etc/ld.so.cache")
    trace.read(cc1, f"{BUILD}/x.c")
    trace.read(cc1, f"{HOME}/.aws/credentials")
    trace.read(cc1, "/proc/self/environ")
    trace.connect(cc1, "203.0.113.9", 443)
    trace.read(trace.run(gcc, "/bin/sh", "sh", "-c", "id"), f"{BUILD}/below-gcc")
    trace.read(trace.run(hook, f"{BUILD}/bin/gcc", "gcc"), f"{BUILD}/own-gcc")
    events = told(trace)
    assert actors(events) == {
        "ld.so.cache": "build-backend",
        "x.c": "build-backend",
        "credentials": "target",
        "environ": "target",
        "below-gcc": "target",
        "own-gcc": "target",
    }
    assert [event.actor for event in events if event.pid == cc1][-1] == "target"
    assert {event.actor for event in events if isinstance(event, ProcessExec) and event.image == CC1} == {
        "build-backend"
    }


@pytest.mark.parametrize(
    "argv",
    [
        ("gcc", "-fplugin=./evil.so", "x.c"),
        ("gcc", "-wrapper", "sh,-c,id", "x.c"),
        ("gcc", "-B./evil", "x.c"),
        ("gcc", "-specs=/usr/../tmp/evil", "x.c"),
        ("gcc", "@options"),
        ("ld", "-plugin", "/tmp/evil.so"),
    ],
)
def test_a_compiler_that_loads_the_packages_code_is_the_package(told: Told, argv: tuple[str, ...]) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    trace.read(trace.run(hook, GCC, *argv), f"{BUILD}/x")
    assert actors(told(trace)) == {"x": "target"}


def test_a_preloaded_compiler_is_the_package(told: Told) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    gcc = trace.run(hook, GCC, "gcc", "x.c")
    trace.read(gcc, f"{BUILD}/evil.so")
    trace.read(gcc, "/etc/ld.so.cache")
    trace.read(gcc, f"{BUILD}/x")
    honest = trace.run(hook, "/usr/bin/ld", "ld", "-plugin", "/usr/lib/gcc/liblto_plugin.so", "-Bsymbolic", "libown.so")
    trace.read(honest, "/etc/ld.so.cache")
    trace.read(honest, f"{BUILD}/libown.so")
    found = actors(told(trace))
    assert (found["x"], found["libown.so"]) == ("target", "build-backend")


def test_compilers_at_import_are_the_package(told: Told) -> None:
    trace = Strace("import")
    trace.read(trace.run(trace.fork(trace.root), GCC, "gcc", "x.c"), f"{BUILD}/x")
    assert actors(told(trace)) == {"x": "target"}


# A package that tries to pass as the installer.

DISGUISES = (
    BUILD_REQUIREMENT,
    COMMANDS["install"],
    COMMANDS["import"],
    ("lsb_release", "-a"),
    ("/usr/bin/uname",),
    HOOK,
)


@given(st.lists(st.tuples(st.sampled_from(["fork", "exec", "read"]), st.integers(0, 9), st.integers(0, 5))))
def test_nothing_below_a_hook_is_ever_the_installer(steps: list[tuple[str, int, int]]) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    below = [hook]
    for what, who, how in steps:
        pid = below[who % len(below)]
        if what == "fork":
            below.append(trace.fork(pid))
        elif what == "exec":
            trace.exec(pid, DISGUISES[how][0], DISGUISES[how])
        else:
            trace.read(pid, f"/data/{how}")
    phases = real_phases()
    phase = next(phase for phase in phases if phase.name == "install")
    table = ProcessTableBuilder()
    read = read_trace(phase, phase.trace, trace.text().encode().splitlines(), table)
    events = list(attribute(read.events, table.build(), make_manifest(phases)))
    # The fork itself and what precedes the hook's own execution are still pip's.
    begun = next(n for n, event in enumerate(events) if isinstance(event, ProcessExec) and event.pid == hook)
    assert {event.actor for event in events[begun:] if event.pid in below} == {"target"}


def test_the_exact_command_of_pip_below_a_hook_is_the_package(told: Told) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    for number, argv in enumerate((BUILD_REQUIREMENT, COMMANDS["install"], COMMANDS["import"])):
        trace.read(trace.run(hook, PYTHON, *argv), f"/data/{number}")
    trace.exec(hook, PYTHON, COMMANDS["install"])
    trace.read(hook, "/data/itself")
    assert set(actors(told(trace)).values()) == {"target"}


def test_the_exact_command_of_a_phase_below_a_module_is_the_package(told: Told) -> None:
    trace = Strace("import")
    module = trace.fork(trace.root)
    trace.exec(module, PYTHON, COMMANDS["import"])
    trace.read(module, "/data/module")
    assert actors(told(trace)) == {"module": "target"}


@pytest.mark.parametrize(
    ("image", "argv", "cwd"),
    [
        (f"{HOME}/.venv/bin/pip", ("pip", "install", "x"), BUILD),
        (PYTHON, (PYTHON, "-m", "pip", "install", "x"), BUILD),
        ("/usr/bin/python3", ("/usr/bin/python3", "-m", "pip", "install", "x"), "/"),
        (PYTHON, (PYTHON, "-I", "-S", LAUNCHER, "config", "list"), "/opt/fumehood"),
        (f"{BUILD}/pip", ("pip",), BUILD),
        (f"{BUILD}/python", COMMANDS["install"], "/"),
        (PYTHON, (PYTHON, "-I", "-S", f"/opt/fumehood/..{BUILD}/pip_launcher.py"), "/opt/fumehood"),
        (PYTHON, (PYTHON, "-I", "-S", "/proc/self/root/opt/fumehood/importer.py"), "/opt/fumehood"),
        # The tree of a dependency, to have it blamed.
        (PYTHON, HOOK, TREE),
        (PYTHON, (PYTHON, "-c", f"open('{TREE}/setup.py')"), TREE),
        # Names and places of tools that are trusted elsewhere.
        ("/usr/bin/lsb_release", ("lsb_release", "-a"), "/"),
        (f"{BUILD}/x86_64-linux-gnu-gcc-12", ("gcc", "x.c"), BUILD),
        (f"/usr/bin/../..{BUILD}/cc1", ("cc1", "x.c"), BUILD),
        ("/proc/self/root/usr/bin/ld", ("ld", "x.o"), BUILD),
    ],
)
def test_no_name_argument_or_place_makes_a_child_of_the_package_somebody_else(
    told: Told, image: str, argv: tuple[str, ...], cwd: str
) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    posing = trace.run(hook, image, *argv, cwd=cwd)
    trace.read(posing, "/data/posing")
    trace.read(trace.run(posing, PYTHON, *BUILD_REQUIREMENT), "/data/below")
    assert actors(told(trace)) == {"posing": "target", "below": "target"}


def test_a_dependency_cannot_have_another_one_blamed(told: Told) -> None:
    trace = Strace("dependencies")
    other = f"/tmp/pip-install-k3j2h1g0/innocent_{'0b' * 16}"
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=TREE)
    trace.read(trace.run(hook, PYTHON, *HOOK, cwd=other), "/data/cwd")
    trace.read(trace.run(hook, PYTHON, f"{other}/setup.py", "install"), "/data/script")
    assert actors(told(trace)) == {"cwd": "dependency:odd-name", "script": "dependency:odd-name"}


@pytest.mark.parametrize(
    "argv",
    [
        (PYTHON, "-I", "-S", "/tmp/pip_launcher.py", *BUILD_REQUIREMENT[4:]),
        (PYTHON, *BUILD_REQUIREMENT[3:]),
        (PYTHON, "-I", "-S", LAUNCHER, "install", "six"),
        (*BUILD_REQUIREMENT[:8], f"{HOME}/.venv", "--", "six"),
        (*BUILD_REQUIREMENT[:8], "/tmp/pip-build-env-ab12_xyz/overlay/../../x", "--", "six"),
        (f"{BUILD}/python", *BUILD_REQUIREMENT[1:]),
    ],
)
def test_only_the_exact_shape_below_pip_is_pip(told: Told, argv: tuple[str, ...]) -> None:
    trace = Strace("install")
    trace.read(trace.run(trace.root, argv[0], *argv), "/data/x")
    assert actors(told(trace)) == {"x": "target"}


TAMPERINGS: list[Callable[[Strace, int], None]] = [
    lambda trace, pid: trace.write(pid, f"{HOME}/.venv/pyvenv.cfg"),
    lambda trace, pid: trace.write(pid, f"{HOME}/.venv/bin/python"),
    lambda trace, pid: trace.rename(pid, "/tmp/python", f"{HOME}/.venv/bin/python3"),
    lambda trace, pid: trace.rename(pid, f"{HOME}/.venv", "/tmp/old"),
    lambda trace, pid: trace.symlink(pid, "/tmp/evil", f"{HOME}/.venv/bin/python"),
    lambda trace, pid: trace.symlink(pid, f"{HOME}/.venv", "/tmp/alias"),
    lambda trace, pid: trace.symlink(pid, "../../home", "/tmp/deep/alias"),
]


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_after_the_interpreter_was_changed_no_new_pip_is_trusted(
    told: Told, tamper: Callable[[Strace, int], None]
) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    tamper(trace, hook)
    trace.read(trace.run(trace.root, PYTHON, *BUILD_REQUIREMENT), "/data/nested-pip")
    trace.read(trace.root, "/data/root")
    assert actors(told(trace)) == {"nested-pip": "target", "root": "installer"}


def test_a_changed_interpreter_is_not_trusted_in_later_phases(tmp_path: Path) -> None:
    install, later = Strace("install"), Strace("import")
    install.write(install.run(install.root, PYTHON, *HOOK, cwd=BUILD), f"{HOME}/.venv/bin/python3.11")
    later.read(later.root, "/data/root")
    traces = {"install": install.text(), "import": later.text()}
    path = write_bundle(tmp_path / "bundle", traces=traces, phases=real_phases())
    assert actors(timeline.build(Bundle.open(path)).events) == {"root": "target"}


def test_a_pip_that_loads_a_module_of_the_environment_is_not_trusted_any_more(told: Told) -> None:
    site = f"{HOME}/.venv/lib/python3.11/site-packages"
    trace = Strace("install")
    for path in (f"{site}/own.py", f"{site}/__pycache__/own.pyc.123"):
        trace.write(trace.root, path)
    trace.rename(trace.root, f"{site}/__pycache__/own.pyc.123", f"{site}/__pycache__/own.pyc")
    trace.missing(trace.root, f"{site}/brotli.py")
    trace.read(trace.root, f"{site}/own.py")
    trace.read(trace.root, f"{site}/__pycache__/own.pyc")
    trace.read(trace.root, "/data/before")
    trace.read(trace.root, f"{site}/keyring.py")
    trace.read(trace.root, "/data/after")
    found = actors(told(trace))
    assert (found["before"], found["keyring.py"], found["after"]) == ("installer", "target", "target")


def test_a_pip_whose_memory_was_reached_is_not_trusted_any_more(told: Told) -> None:
    trace = Strace("install")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=BUILD)
    trace.read(trace.root, "/data/before")
    inner = f"2 /* {trace.root} in strace's PID NS */"
    trace.call(hook, f"ptrace(PTRACE_ATTACH, {inner})", "0")
    trace.read(trace.root, "/data/after")
    assert actors(told(trace)) == {"before": "installer", "after": "target"}


def test_survivors_keep_their_actor_in_linger(told: Told) -> None:
    trace = Strace("dependencies")
    hook = trace.run(trace.root, PYTHON, *HOOK, cwd=TREE)
    trace.exit(trace.root)
    trace.now += 50
    trace.read(hook, "/data/late")
    trace.read(trace.run(hook, "/usr/bin/true"), "/data/later")
    late = [event for event in told(trace) if isinstance(event, FileRead)]
    assert [(event.phase, event.actor) for event in late] == [("linger", "dependency:odd-name")] * 2
