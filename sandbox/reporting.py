"""Reports on stored evidence, made in a process of their own: whatever is in the evidence cannot hold up who asked."""

from __future__ import annotations

import asyncio
import hashlib
import io
import signal
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args
from weakref import WeakValueDictionary

from sandbox import versions
from sandbox.errors import EvidenceDamagedError, EvidenceMissingError, SandboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

Form: TypeAlias = Literal["json", "text"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
_MISSING, _DAMAGED = 3, 4
"""Exit codes."""
_AT_ONCE: Final = 2
_LONGEST_S: Final = 300
_KEPT_BYTES: Final = 64 * 1024**2
_SAID: Final = 500
_WIDTH: Final = 100


class Reports:
    """Makes reports, and keeps the latest ones; belongs to one event loop."""

    def __init__(self, evidence: str, rules_sha256: str) -> None:
        """Nothing is made yet.

        Args:
            evidence: Place of the evidence store.
            rules_sha256: Digest of the rules that are in force.
        """
        self._evidence = evidence
        self.edition = hashlib.sha256(f"{versions.fumehood()} {rules_sha256}".encode()).hexdigest()[:16]
        """Changes with whatever reports depend on beside the evidence."""
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[tuple[str, Form], bytes] = OrderedDict()
        self._asked: WeakValueDictionary[tuple[str, Form], asyncio.Lock] = WeakValueDictionary()

    async def get(self, run: str, form: Form) -> bytes:
        """The report on a run, by the rules in force.

        Raises:
            EvidenceMissingError: No evidence of this run is stored.
            EvidenceDamagedError: It is not what was stored.
            SandboxError: It takes too long, or something else went wrong.
        """
        key = (run, form)
        asked = self._asked.setdefault(key, asyncio.Lock())
        # Whoever asks for the same meanwhile waits for the same.
        async with asked:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            async with self._room:
                made = await self._make(run, form)
            self._kept[key] = made
        while sum(map(len, self._kept.values())) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return made

    async def _make(self, run: str, form: Form) -> bytes:
        command = (sys.executable, "-I", "-m", "sandbox.reporting", self._evidence, run, form)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_LONGEST_S):
                out, err = await process.communicate()
        except TimeoutError as error:
            raise SandboxError(f"the report takes more than {_LONGEST_S} s; use `fumehood report`") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            return out
        said = err.decode(errors="replace").strip()[-_SAID:]
        match process.returncode:
            case code if code == _MISSING:
                raise EvidenceMissingError(said)
            case code if code == _DAMAGED:
                raise EvidenceDamagedError(said)
            case code:
                raise SandboxError(f"the process that makes a report ended with {code}: {said}")


def make(evidence: str, run: str, form: Form) -> bytes:
    """Make a report.

    Args:
        evidence: Place of the evidence store.
        run: Id of the run.
        form: `json` as docs/report.schema.json describes it, or `text` for people.

    Raises:
        EvidenceMissingError: No evidence of this run is stored.
        EvidenceDamagedError: It is not what was stored.
        BundleError: It cannot be read as what it should be.
    """
    from rich.console import Console

    from collector.analyse import analyse
    from collector.report import to_json
    from sandbox.evidence import open_evidence
    from sandbox.rules_commands import load_rules
    from sandbox.terminal import render_report

    with open_evidence(evidence).open(run) as bundle:
        report = analyse(bundle, load_rules())
    if form == "json":
        return to_json(report)
    text = io.StringIO()
    render_report(report, Console(file=text, width=_WIDTH, no_color=True, highlight=False))
    return text.getvalue().encode(errors="backslashreplace")


def main(arguments: Sequence[str]) -> int:
    """Make one report, for `Reports`."""
    from collector.errors import BundleError
    from sandbox.pod.kernel import die_with_parent

    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends us when it ends
    evidence, run, form = arguments
    try:
        sys.stdout.buffer.write(make(evidence, run, "text" if form == "text" else "json"))
        sys.stdout.buffer.flush()
    except EvidenceMissingError as error:
        sys.stderr.write(str(error))
        return _MISSING
    except (EvidenceDamagedError, BundleError) as error:
        sys.stderr.write(str(error))
        return _DAMAGED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
