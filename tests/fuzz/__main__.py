"""Fuzzes what reads traces: `python -m tests.fuzz --runs 1000000 tokenizer`, or `make fuzz` for both targets.

Coverage-guided (atheris), seeded with pieces of a real trace. Ends with 0 when all inputs were read as they must be;
else the input that was not is written to the working directory, and libFuzzer says how to run it again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import atheris

CORPUS = Path(__file__).parent / "corpus"
INSTRUMENTED = {"tokenizer": ["collector.strace"], "reader": ["collector.syscalls", "collector.processes"]}
"""What leads the fuzzer: the target's own part alone, since instrumented code is many times slower."""
LONGEST = 512
"""Bytes of an input."""
PIECE = 3
"""Lines of a seed; a real trace is cut into such pieces, so that the fuzzer can put them together in other ways."""
WORDS = (
    *(") = 0", ") = -1 EPERM (Operation not permitted)", ") = ?", " <unfinished ...>", "<... openat resumed>"),
    *(" <pid changed to 4922 ...>", "+++ superseded by execve in pid 4924 +++", "+++ exited with 0 +++"),
    *("+++ killed by SIGKILL +++", "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=2} ---"),
    *("/* 4924 in strace's PID NS */", "flags=CLONE_THREAD", "flags=CLONE_FILES", "flags=SIGCHLD", "AT_FDCWD</tmp>"),
    *("???(", "<... ??? resumed>"),
    *("<TCP:[127.0.0.1:1->192.0.2.1:2]>", "<socket:[7]>", "<pid:4922>", "(deleted)", "<char 1:3>", "@", "=>", "htons("),
    *("execve(", "clone(", "connect(", "sendmsg(", "recvmsg(", "sendmmsg(", "dup2(", "fcntl(", "F_DUPFD", "mount("),
    *("memfd_create(", "rename(", "symlink(", "/proc/self/fd/3", "/proc/2/mem", "...", "NULL", "{", "[", "\\303\\251"),
)
"""What a mutation may put in."""


def seeds(directory: Path) -> int:
    """Writes the seeds and gives their number."""
    number = 0
    for trace in sorted(CORPUS.iterdir()):
        lines = trace.read_bytes().splitlines(keepends=True)
        for start in range(0, len(lines), PIECE):
            (directory / f"{trace.stem}-{start:04}").write_bytes(b"".join(lines[start : start + PIECE]))
            number += 1
    return number


def dictionary(path: Path) -> None:
    """Writes the words in libFuzzer's form."""
    path.write_text("".join('"{}"\n'.format(word.replace("\\", "\\\\").replace('"', '\\"')) for word in WORDS))


def fuzz(target: str, runs: int, seed: int, directory: Path) -> NoReturn:
    """Fuzzes, with the seeds in `directory`; libFuzzer ends the process."""
    # The product is instrumented here and nowhere else.
    with atheris.instrument_imports(include=INSTRUMENTED[target]):
        from tests.fuzz.target import TARGETS  # noqa: PLC0415 - only imports in this block are instrumented
    corpus, words = directory / "corpus", directory / "words"
    corpus.mkdir()
    number = seeds(corpus)
    dictionary(words)
    sys.stdout.write(f"{target}: {number} seeds, {runs:,} inputs\n")
    sys.stdout.flush()
    arguments = [
        *(f"-runs={runs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-dict={words}"),
        *("-timeout=20", "-print_final_stats=1", str(corpus)),
    ]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()
    sys.exit(0)


def main() -> None:
    """Reads the command line and fuzzes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("target", choices=["tokenizer", "reader"])
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs (default: a million)")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer's random numbers (default: 1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fumehood-fuzz-") as directory:
        # libFuzzer ends its process as it likes, so that it has one of its own.
        child = os.fork()
        if child == 0:
            fuzz(options.target, options.runs, options.seed, Path(directory))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the fuzzer, which says how far it came.
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
