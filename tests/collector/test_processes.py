"""The table of processes: who was whose child, and what ran when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from collector import written_files
from collector.allowance import Allowance
from collector.live_processes import ProcessTableBuilder
from collector.processes import Execution, Process, ProcessTable
from collector.written_files import Written, WrittenFiles
from tests.collector.lines import START, call, read

if TYPE_CHECKING:
    import pytest


def forked(inner: int, outer: int) -> str:
    return f"clone(child_stack=NULL, flags=SIGCHLD) = {inner} /* {outer} in strace's PID NS */"


def execve(path: str) -> str:
    return f'execve("{path}", ["x"], 0x7ff /* 9 vars */) = 0'


def row(pid: int, parent: int, started: float, *executions: Execution) -> Process:
    return Process(pid, parent, "import", started, None, None, executions, ())


def test_the_package_has_rows_and_the_pod_none() -> None:
    builder = ProcessTableBuilder()
    read(
        [
            call(20, 1, forked(3, 21)),
            call(20, 2, forked(4, 22)),
            call(21, 3, execve("/bin/a")),
            call(21, 4, forked(5, 23)),
            call(23, 5, execve("/bin/b")),
            call(23, 6, "+++ killed by SIGTERM +++"),
            call(21, 7, "+++ exited with 3 +++"),
        ],
        table=builder,
    )
    table = builder.build()
    assert [(process.pid, process.parent, process.children) for process in table] == [
        (20, 0, (21, 22)),
        (21, 20, (23,)),
        (22, 20, ()),
        (23, 21, ()),
    ]
    assert [process.pid for process in table.ancestors(23)] == [21, 20]
    assert table.ancestors(20) == ()
    assert table.ancestors(18) == ()
    ended = table.get(23)
    assert ended is not None
    assert (ended.ended, ended.code, ended.signal) == (START + 1.006, 0, "SIGTERM")
    ended = table.get(21)
    assert ended is not None
    assert (ended.code, ended.signal) == (3, "")
    assert [process.ended for process in table if process.pid in {20, 22}] == [None, None]


def test_a_long_line_of_forks_is_walked_to_its_beginning() -> None:
    table = ProcessTable(row(number, number - 1, START + number / 1000) for number in range(1, 20_001))
    assert [process.pid for process in table.ancestors(20_000)] == list(range(19_999, 0, -1))


def test_processes_that_began_each_other_end_the_walk() -> None:
    table = ProcessTable([row(1, 2, START), row(2, 1, START)])
    assert [process.pid for process in table.ancestors(1)] == [2]


def test_what_ran_at_a_time_is_ones_own_or_inherited() -> None:
    builder = ProcessTableBuilder()
    read([call(20, 10, forked(3, 21)), call(21, 20, execve("/bin/a")), call(20, 30, execve("/bin/b"))], table=builder)
    table = builder.build()

    def image(pid: int, ms: int) -> str | None:
        execution = table.execution(pid, START + 1 + ms / 1000)
        return None if execution is None else execution.image

    assert [image(21, ms) for ms in (15, 20, 40)] == ["/usr/bin/python3", "/bin/a", "/bin/a"]
    assert [image(20, ms) for ms in (15, 35)] == ["/usr/bin/python3", "/bin/b"]
    assert image(99, 15) is None


def test_a_pid_used_again_is_another_process() -> None:
    builder = ProcessTableBuilder()
    trace = read(
        [
            call(20, 10, forked(3, 21)),
            call(21, 20, execve("/bin/a")),
            call(21, 30, "+++ exited with 0 +++"),
            call(20, 40, "vfork( <unfinished ...>"),
            call(21, 45, execve("/bin/b")),
            call(20, 50, "<... vfork resumed>) = 4 /* 21 in strace's PID NS */"),
        ],
        table=builder,
    )
    table = builder.build()
    rows = [process for process in table if process.pid == 21]
    assert [[execution.image for execution in process.executions] for process in rows] == [["/bin/a"], ["/bin/b"]]
    assert table.get(21, START + 1.025) is rows[0]
    assert table.get(21, START + 1.047) is rows[1]
    assert trace.orphans == 0


def test_phases_share_one_table_though_pids_come_again() -> None:
    builder = ProcessTableBuilder()
    write = 'openat(AT_FDCWD</home/dev>, "/tmp/x", O_WRONLY|O_CREAT, 0755) = 3</tmp/x>'
    read([call(20, 1, write)], table=builder, phase="install")
    read([call(20, 2, execve("/tmp/x"))], table=builder, phase="import")
    table = builder.build()
    assert [(process.pid, process.phase) for process in table] == [(20, "install"), (20, "import")]
    execution = [process.executions for process in table][1][-1]
    assert (execution.origin, execution.written) == ("written", Written("/tmp/x", 20, START + 1.001, "install"))


def test_ancestors_end_even_when_a_table_says_otherwise() -> None:
    table = ProcessTable([row(1, 2, 0.0), row(2, 1, 0.0), row(3, 3, 0.0), row(4, 99, 0.0)])
    assert [process.pid for process in table.ancestors(1)] == [2]
    assert table.ancestors(3) == ()
    assert table.ancestors(4) == ()
    assert len(table) == 4


DIRECTORIES = ("/a", "/b", "/b/c")
FILES = tuple(f"{directory}/{name}" for directory in DIRECTORIES for name in "xy")
ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(FILES), st.just("")),
    st.tuples(st.just("remove"), st.sampled_from(FILES), st.just("")),
    st.tuples(st.just("rename"), st.sampled_from(FILES), st.sampled_from(FILES)),
    st.tuples(st.just("rename"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("exchange"), st.sampled_from(FILES), st.sampled_from(FILES)),
    st.tuples(st.just("link"), st.sampled_from(FILES), st.sampled_from(FILES)),
)


def moved(model: dict[str, int], old: str, new: str) -> None:
    """What rename does to a plain table of files."""
    if old in FILES:
        mark = model.pop(old, None)
        if old == new and mark is not None:
            model[old] = mark
        elif mark is None:
            model.pop(new, None)
        else:
            model[new] = mark
        return
    for path in [path for path in model if path.startswith(old + "/")]:
        model[new + path[len(old) :]] = model.pop(path)


def allowed(model: dict[str, int], action: str, one: str, other: str) -> bool:
    """Whether the kernel would: a directory only replaces an empty one, and never moves into itself."""
    if action in {"link", "exchange"} and one == other:
        return False
    if action == "link":
        return other not in model
    if action == "rename" and one in DIRECTORIES:
        return not other.startswith(one) and not any(path.startswith(other + "/") for path in model)
    return True


@given(st.lists(ACTIONS, max_size=25))
@settings(max_examples=300, deadline=None)
def test_marks_follow_files_like_a_plain_table_would(steps: list[tuple[str, str, str]]) -> None:
    files, model = WrittenFiles(), dict[str, int]()
    for number, (action, one, other) in enumerate(steps, 1):
        if not allowed(model, action, one, other):
            continue
        if action == "add":
            files.add(one, number, 0.0, "import")
            model.setdefault(one, number)
        elif action == "remove":
            files.remove(one)
            model.pop(one, None)
        elif action == "rename":
            files.rename(one, other)
            moved(model, one, other)
        elif action == "exchange":
            files.exchange(one, other)
            marks = {other: model.pop(one, None), one: model.pop(other, None)}
            model.update({path: mark for path, mark in marks.items() if mark is not None})
        else:
            files.link(one, other, symbolic=False)
            model |= {other: model[one]} if one in model else {}
    seen = {path: written.pid for path in model.keys() | set(FILES) if (written := files.get(path)) is not None}
    assert seen == model


def test_files_that_are_renamed_with_their_directory_take_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_files, "_MOST_TEXT", 100)
    allowance = Allowance()
    files = WrittenFiles(allowance)
    files.add("/a/b/c", 1, 0.0, "install")
    for _ in range(20):
        files.rename("/a", "/d")
        files.rename("/d", "/a")
    assert files.get("/a/b/c") == Written("/a/b/c", 1, 0.0, "install")
    assert allowance.exceeded() == ()
