"""Hints for the next run: what was wanted and not there, and who left after looking around."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.hints import MOST, HintReader, Hints
from collector.readers import show
from collector.redact import Redactor
from tests.collector.bundles import AWS_VALUE, BAITS, HOME
from tests.collector.reports import make_events

if TYPE_CHECKING:
    from collector.events import AnyEvent


def gathered(events: list[AnyEvent]) -> Hints:
    reader = HintReader(HOME)
    show(events, [reader])
    return reader.hints(Redactor.of(BAITS))


def found(*lines: str) -> list[tuple[str, str, int]]:
    hints = gathered(make_events(*lines))
    return [(hint.kind, hint.what, hint.count) for hint in hints.items]


def tried(pid: int, path: str, errno: str = "ENOENT", actor: str = "target") -> str:
    failed = f" errno={errno}" if errno else ""
    return f'import {actor} {pid} process.exec image={path} argv=["x"] parent=4{failed}'


def read(path: str, *, pid: int = 5, errno: str = "", actor: str = "target") -> str:
    return f"import {actor} {pid} file.read path={path}" + (f" errno={errno}" if errno else "")


def test_a_program_that_is_nowhere_on_the_path() -> None:
    lines = [tried(7, f"{place}/xxd") for place in ("/usr/local/bin", "/usr/bin", "/bin")]
    again = [line.replace(" 7 ", " 8 ") for line in lines]
    assert found(*lines, "import target 7 process.exit code=127", *again) == [("missing-program", "xxd", 2)]


def test_a_program_further_down_the_path_was_found() -> None:
    assert found(tried(7, "/usr/local/bin/id"), tried(7, "/usr/bin/id", "")) == []


def test_another_program_in_its_place() -> None:
    lines = (tried(7, "/usr/bin/bun"), tried(7, "/usr/bin/node"), tried(7, "/usr/bin/python3", ""))
    assert found(*lines) == [("missing-program", "bun", 1), ("missing-program", "node", 1)]


def test_a_program_that_may_not_be_executed_is_there() -> None:
    assert found(tried(7, "/usr/bin/su", "EACCES")) == []


@pytest.mark.parametrize(
    ("actor", "told"), [("target", 1), ("dependency:left", 1), ("installer", 0), ("build-backend", 0)]
)
def test_only_the_package_and_its_dependencies_want_things(actor: str, told: int) -> None:
    assert len(found(tried(7, "/usr/bin/bun", actor=actor))) == told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (f"{HOME}/.config/Exodus/exodus.wallet/seed.seco", True),
        (f"{HOME}/.env", True),
        ("/etc/kubernetes/admin.conf", True),
        ("/var/run/secrets/kubernetes.io/serviceaccount/token", True),
        (f"{HOME}/.venv/lib/python3.11/site-packages/thing/_speedups.so", False),
        ("/usr/lib/locale/locale-archive", False),
        ("/tmp/x", False),
        ("/proc/sys/x", False),
    ],
)
def test_files_that_were_missed(path: str, *, told: bool) -> None:
    lines = (read(path, errno="ENOENT"), read(path, errno="ENOENT"))
    assert found(*lines) == ([("missing-file", path, 2)] if told else [])
    assert found(read(path), read(path, errno="EACCES")) == []


SIGNS = (read("/.dockerenv", errno="ENOENT"), read("/proc/1/cgroup"), read("/sys/class/dmi/id/product_name"))
END = "import target 5 process.exit"


def test_an_end_right_after_looking_for_a_sandbox() -> None:
    assert found(*SIGNS, END) == [("early-exit", "/sys/class/dmi/id/product_name", 1)]
    # What Python opens at its end is no answer.
    assert found(*SIGNS, read("/usr/lib/python3.11/traceback.py"), END)[0][0] == "early-exit"


@pytest.mark.parametrize(
    "after",
    [
        "import target 5 network.connect ip=203.0.113.5 port=80",
        f"import target 5 file.write path={HOME}/x",
        read(f"{HOME}/.venv/lib/python3.11/site-packages/thing/more.py"),
        tried(5, "/bin/sh", ""),
    ],
)
def test_who_goes_on_after_looking_has_not_left_early(after: str) -> None:
    assert [kind for kind, *_ in found(*SIGNS, after, END)] == []


def test_one_look_is_none() -> None:
    assert found(read("/proc/self/status"), read("/proc/self/status"), END) == []


def test_the_end_of_another_process_is_not_its_end() -> None:
    assert found(*SIGNS, END.replace(" 5 ", " 6 ")) == []


def test_kinds_are_together_and_numbers_are_bounded() -> None:
    files = [read(f"{HOME}/wanted-{number}", errno="ENOENT") for number in range(MOST + 50)]
    hints = gathered(make_events(*files, tried(7, "/usr/bin/bun")))
    assert [hint.kind for hint in hints.items] == ["missing-program", *["missing-file"] * (MOST - 1)]
    assert hints.omitted == 51
    assert {hint.profile for hint in hints.items} == {""}


def test_no_secret_is_in_a_hint() -> None:
    ((_, what, _),) = found(read(f"{HOME}/{AWS_VALUE}", errno="ENOENT"))
    assert AWS_VALUE not in what
