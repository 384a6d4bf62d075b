"""Calls on files: which path, whether read or written, and what is no event at all."""

from __future__ import annotations

import pytest

from collector.events import FileRead, FileWrite
from tests.collector.lines import call, read, told

CWD = "AT_FDCWD</home/dev>"


def only(line: str) -> dict[str, object]:
    (row,) = told(read(call(20, 1, line)).events)
    return row


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f'openat({CWD}, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>', {"path": "/etc/passwd"}),
        (f'openat({CWD}, ".ssh/id_rsa", O_RDONLY) = 3</home/dev/.ssh/id_rsa>', {"path": "/home/dev/.ssh/id_rsa"}),
        (
            f'openat({CWD}, "../x//./y", O_RDONLY) = -1 ENOENT (No such file or directory)',
            {"path": "/home/x/y", "errno": "ENOENT"},
        ),
        (
            'openat(5</srv/data>, "k", O_RDONLY) = -1 EACCES (Permission denied)',
            {"path": "/srv/data/k", "errno": "EACCES"},
        ),
        (
            f'openat({CWD}, "/etc/localtime", O_RDONLY) = 3</usr/share/zoneinfo/Etc/UTC>',
            {"path": "/usr/share/zoneinfo/Etc/UTC"},
        ),
        (f'openat({CWD}, "/proc/self/environ", O_RDONLY) = 3</proc/2/environ>', {"path": "/proc/self/environ"}),
        (
            f'openat({CWD}, "/proc/self/root/etc/shadow", O_RDONLY) = -1 EACCES (Permission denied)',
            {"path": "/etc/shadow", "errno": "EACCES"},
        ),
        (
            f'openat({CWD}, "/proc/self/cwd/.netrc", O_RDONLY) = -1 ENOENT (No such file or directory)',
            {"path": "/home/dev/.netrc", "errno": "ENOENT"},
        ),
        (f'openat({CWD}, "/dev/fd/7", O_RDONLY) = 3</etc/passwd>', {"path": "/etc/passwd"}),
        (f'openat({CWD}, "/dev/stdin", O_RDONLY) = 3<pipe:[77]>', {"path": "/dev/stdin"}),
        ('open("a", O_RDONLY) = 3</home/dev/a>', {"path": "/home/dev/a"}),
        ('open("a", O_RDONLY) = -1 ENOENT (No such file or directory)', {"path": "/home/dev/a", "errno": "ENOENT"}),
        (
            f'openat2({CWD}, "a", {{flags=O_RDONLY, resolve=RESOLVE_BENEATH}}, 24) = 3</home/dev/a>',
            {"path": "/home/dev/a"},
        ),
        (
            f'openat({CWD}, "/a\\"b\\303\\251\\377", O_RDONLY) = -1 ENOENT (No such file or directory)',
            {"path": '/a"bé\\xff', "errno": "ENOENT"},
        ),
    ],
)
def test_reads(line: str, expected: dict[str, object]) -> None:
    assert only(line) == {"kind": "file.read", "pid": 20} | expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            f'openat({CWD}, "a", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</home/dev/a>',
            {"path": "/home/dev/a", "created": True},
        ),
        (f'openat({CWD}, "a", O_WRONLY|O_APPEND) = 3</home/dev/a>', {"path": "/home/dev/a"}),
        (
            'creat("/etc/x", 0644) = -1 EROFS (Read-only file system)',
            {"path": "/etc/x", "created": True, "errno": "EROFS"},
        ),
        ('truncate("/home/dev/a", 0) = 0', {"path": "/home/dev/a"}),
    ],
)
def test_writes(line: str, expected: dict[str, object]) -> None:
    assert only(line) == {"kind": "file.write", "pid": 20} | expected


def test_opening_for_both_is_a_read_and_a_write() -> None:
    trace = read(call(20, 1, f'openat({CWD}, "a", O_RDWR|O_CREAT, 0600) = 3</home/dev/a>'))
    assert [(type(event), event.path) for event in trace.events[1:] if isinstance(event, FileRead | FileWrite)] == [
        (FileRead, "/home/dev/a"),
        (FileWrite, "/home/dev/a"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        f'openat({CWD}, "/usr", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3</usr>',
        f'openat({CWD}, "/usr/x", O_RDONLY|O_CLOEXEC|O_PATH) = 3</usr/x>',
        f"openat({CWD}, 0x10, O_RDONLY) = -1 EFAULT (Bad address)",
        'mknodat(AT_FDCWD</home/dev>, "ff", S_IFIFO|0666) = 0',
        "setsid()        = 2",
        "personality(0xffffffff) = 0 (PER_LINUX)",
        "kill(0, SIGTERM) = 0",
    ],
)
def test_what_is_no_event(line: str) -> None:
    trace = read(call(20, 1, line))
    assert len(trace.events) == 1
    assert trace.counts.unparsed == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('unlink("a") = 0', {"kind": "file.delete", "path": "/home/dev/a"}),
        ('rmdir("/nope") = -1 ENOENT (No such file or directory)',
         {"kind": "file.delete", "path": "/nope", "errno": "ENOENT"}),
        ('unlinkat(3</srv>, "a", AT_REMOVEDIR) = 0', {"kind": "file.delete", "path": "/srv/a"}),
        ('rename("a", "/b") = 0', {"kind": "file.rename", "old": "/home/dev/a", "path": "/b"}),
        (f'renameat2({CWD}, "a", 3</srv>, "b", RENAME_NOREPLACE) = 0',
         {"kind": "file.rename", "old": "/home/dev/a", "path": "/srv/b"}),
        ('link("a", "b") = 0', {"kind": "file.link", "target": "/home/dev/a", "path": "/home/dev/b"}),
        (f'linkat({CWD}, "a", {CWD}, "b", 0) = 0',
         {"kind": "file.link", "target": "/home/dev/a", "path": "/home/dev/b"}),
        ('symlink("../x", "sl") = 0',
         {"kind": "file.link", "target": "../x", "path": "/home/dev/sl", "symbolic": True}),
        ('symlinkat("/etc/passwd", 3</srv>, "sl") = 0',
         {"kind": "file.link", "target": "/etc/passwd", "path": "/srv/sl", "symbolic": True}),
        ('chmod("a", 0755) = 0', {"kind": "file.mode", "path": "/home/dev/a", "mode": "0755"}),
        (f'fchmodat({CWD}, "a", 04755) = 0', {"kind": "file.mode", "path": "/home/dev/a", "mode": "04755"}),
        ("fchmod(3</srv/a>, 0600) = 0", {"kind": "file.mode", "path": "/srv/a", "mode": "0600"}),
        ('chown("a", 0, -1) = -1 EPERM (Operation not permitted)',
         {"kind": "file.owner", "path": "/home/dev/a", "owner": 0, "group": -1, "errno": "EPERM"}),
        ('lchown("/b", 1000, 1000) = 0', {"kind": "file.owner", "path": "/b", "owner": 1000, "group": 1000}),
        ("fchown(3</srv/a>, 1000, 4) = 0", {"kind": "file.owner", "path": "/srv/a", "owner": 1000, "group": 4}),
        (f'fchownat({CWD}, "a", -1, 4, AT_SYMLINK_NOFOLLOW) = 0',
         {"kind": "file.owner", "path": "/home/dev/a", "owner": -1, "group": 4}),
        ('memfd_create("evil", MFD_CLOEXEC) = 11</memfd:evil>(deleted)', {"kind": "memory.file", "name": "evil"}),
    ],
)  # fmt: skip
def test_other_calls_on_files(line: str, expected: dict[str, object]) -> None:
    assert only(line) == {"pid": 20} | expected


def test_paths_are_bounded() -> None:
    row = only(f'unlink("/{"x" * 9000}") = -1 ENAMETOOLONG (File name too long)')
    assert len(str(row["path"])) == 4096


def test_a_path_too_long_to_be_kept_is_not_understood() -> None:
    """By steps a package reaches deeper than any path: names are cut there, and a secret moved there reads unseen."""
    steps = [call(20, number, f'chdir("{"d" * 200}") = 0') for number in range(1, 26)]
    moved = call(20, 30, 'rename("/home/dev/.ssh", "s") = 0')
    opened = call(20, 31, 'openat(AT_FDCWD, "s/id_ed25519", O_RDONLY) = 3')
    assert read(steps[:18]).counts.unparsed == 0
    assert read([*steps, moved, opened]).counts.unparsed > 2


@pytest.mark.parametrize(
    "text",
    [
        "truncate(NULL, 5)",
        "unlink(0x8)",
        f"unlinkat({CWD}, 0x8, 0)",
        'rename(NULL, "/b")',
        'rename("/a", 0x8)',
        'link("/a", NULL)',
        'symlink(NULL, "/b")',
        'symlink("/a", 0x8)',
        "chmod(NULL, 0644)",
        "fchmod(9, 0644)",
        "chown(NULL, 1, 1)",
        "fchown(9, 1, 1)",
        "memfd_create(0x8, 0)",
        "openat(9, 0x8, O_RDONLY)",
        "creat(NULL, 0644)",
        "chdir(0x8)",
    ],
)
def test_what_strace_could_not_read_is_a_loss_only_when_the_call_worked(text: str) -> None:
    failed = read(call(20, 1, f"{text} = -1 EFAULT (Bad address)"))
    assert (failed.counts.unparsed, len(failed.events)) == (0, 1)
    assert read(call(20, 1, f"{text} = 0")).counts.unparsed == 1
