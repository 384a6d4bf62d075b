"""The same program read from one trace of all threads (`strace -f`) and from one of each (`-ff`): the same events.

strace writes the one or the other, so that the program runs twice; it does the same each time. In the split form no
call is interrupted by another thread's line, so that whatever the joining of halves gets wrong shows as a difference.
What differs between any two runs is made alike: numbers of processes become places in the tree, ephemeral ports one
word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from collector.events import ProcessStart
from sandbox import tracer
from tests.collector.real import PYTHON, read, run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from collector.events import AnyEvent

PROGRAM = r"""
import os, signal, socket, subprocess, sys, threading
signal.signal(signal.SIGUSR1, lambda *_: None)

def files(name):
    for number in range(20):
        path = f"{name}-{number} \"\n>) = 3"
        open(path, "w").close(); open(path).close(); os.rename(path, path + "x"); os.unlink(path + "x")
        try:
            open(f"{name}-missing")
        except OSError:
            pass

def both(*works):
    # Threads at once: their lines cut each other's calls in two.
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

both(lambda: files("a"), lambda: files("b"), lambda: files("c"))
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
peer = socket.create_connection(listener.getsockname()); served, _ = listener.accept()
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
subprocess.run(["sh", "-c", "cd /; (exit 2); kill -9 $$"], stdin=peer)
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        files(f"child{number}")
        if number == 0: os.kill(os.getpid(), signal.SIGUSR1)
        if number == 1: os.abort()
        if number == 2: os.execv("/bin/sh", ["sh", "-c", "exit 7"])
        if number == 3: both(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 8"]))
        os._exit(number)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
for call in (lambda: os.execv("/nowhere", ["x"]), lambda: os.chroot("/nowhere")):
    try:
        call()
    except OSError:
        pass
both(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 5"]))
"""
COMMAND = (PYTHON, "-I", "-S", "-c", PROGRAM)
EPHEMERAL = re.compile(r"(?<=127\.0\.0\.1:)[0-9]{4,5}")
REGISTERED = 1024


def split(directory: Path) -> list[bytes]:
    """The lines of the split traces as one trace in order of time, each with its thread before it."""
    lines = []
    for part in directory.glob("trace.*"):
        thread = part.suffix.removeprefix(".").encode()
        lines += [(line.split(b" ", 1)[0], thread + b" " + line) for line in part.read_bytes().splitlines()]
    return [line for _, line in sorted(lines, key=lambda timed: float(timed[0]))]


def alike(events: Iterable[AnyEvent], directory: Path) -> dict[tuple[int, ...], list[str]]:
    """What each process did, in its own order, without what differs between two runs."""
    places: dict[int, tuple[int, ...]] = {}
    children: defaultdict[int, int] = defaultdict(int)
    told: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for event in events:
        if isinstance(event, ProcessStart):
            places[event.pid] = (*places[event.parent], children[event.parent])
            children[event.parent] += 1
        place = places.setdefault(event.pid, ())
        row = {key: value for key, value in msgspec.to_builtins(event).items() if key not in {"ts", "source", "pid"}}
        for name in ("parent", "target", "sender"):
            if isinstance(row.get(name), int):
                row[name] = places.get(row[name], "outside")
        for name in ("port", "local_port"):
            if row.get(name, 0) > REGISTERED:
                row[name] = "ephemeral"
        text = repr(sorted(row.items())).replace(str(directory), "HERE")
        told[place].append(EPHEMERAL.sub("ephemeral", text))
    return told


def sorted_threads(told: dict[tuple[int, ...], list[str]]) -> dict[tuple[int, ...], list[str]]:
    """Threads of one process do things in any order."""
    return {place: sorted(rows) for place, rows in sorted(told.items())}


def test_the_split_form_gives_the_same_events(tmp_path: Path) -> None:
    together, apart = tmp_path / "together", tmp_path / "apart"
    together.mkdir()
    apart.mkdir()
    whole = run(together, COMMAND, status=5).read_bytes().splitlines()
    run(apart, COMMAND, status=5, options=(*tracer.OUTSIDE, "--output-separately"))
    pieces = split(apart)
    assert len(list(apart.glob("trace.*"))) > 10
    one, other = (
        sorted_threads(alike(read(lines, COMMAND)[0].events, directory))
        for lines, directory in ((whole, together), (pieces, apart))
    )
    assert list(one) == list(other)
    for place, rows in one.items():
        assert rows == other[place], place
    assert sum(map(len, one.values())) > 400


def test_halves_were_joined(tmp_path: Path) -> None:
    """The test above compares something only when calls were cut in two."""
    whole = run(tmp_path, COMMAND, status=5).read_bytes()
    assert whole.count(b"<unfinished ...>") >= 5
    assert whole.count(b" resumed>") >= 5
