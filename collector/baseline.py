"""What an empty package does too: shapes of events, by which the usual is told from what is the package's own.

It only counts and sorts what is shown. Rules see every event, whether the baseline has it or not.
"""

from __future__ import annotations

import re
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from collector.errors import BundleError
from collector.events import AnyEvent, ResourceSample
from collector.standing import DEPENDENCY, INSTALLER, TARGET

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.brief import Brief
    from collector.bundle import Bundle
    from collector.events import Event
    from collector.manifest import Manifest

BASELINE: Final = "baseline.json.zst"
"""Name of the file in a bundle."""
SCHEMA: Final = "fumehood.baseline/1"

_STARTS: Final = frozenset({"startup", "import", "exercise"})
_SKIPPED: Final = frozenset(
    {"ts", "pid", "source", "phase", "actor", "parent", "size", "answers", "user_agent", "body", "payload", "status"}
    | {"sha256", "parent_argv", "parent_image"}
)
"""Fields that say nothing of what sort of event it is, or differ from run to run."""
_CACHED: Final = 1 << 16
_RANDOM: Final = (
    ("/proc/", re.compile(r"/proc/[0-9]+"), "/proc/N"),
    ("/tmp/pip-", re.compile(r"(/tmp/pip-[a-z-]+-)[a-z0-9_]{8}"), r"\1X"),  # noqa: S108 - in the pod
    ("tmp", re.compile(r"(/tmp/|/)(\.?tmp)[A-Za-z0-9_]{6,8}(?=/|\.|$)"), r"\1\2X"),
    ("pymp-", re.compile(r"(/tmp/|/)(pymp-)[A-Za-z0-9_]{6,8}(?=/|\.|$)"), r"\1\2X"),
    (".tmp", re.compile(r"[a-z0-9_]{8}\.tmp$"), "X.tmp"),
    ("~/.cache/pip/", re.compile(r"~/\.cache/pip/.+"), "~/.cache/pip/*"),
    ("", re.compile(r"[0-9a-f]{16,}"), "H"),
    (".pyc.", re.compile(r"\.pyc\.[0-9]+"), ".pyc.N"),
    (".so.", re.compile(r"\.so\.[0-9]+"), ".so.N"),
    (".tmp.", re.compile(r"\.tmp\.[0-9]+"), ".tmp.N"),
    ("", re.compile(r"[0-9]{5,}"), "N"),
)
"""Numbers of processes, temporary names, digests and times: what is always in such a text, what it looks like, and what
stands in its place."""
_UNPACKED: Final = re.compile(
    r"((?:/tmp/pip-build-env-X/[a-z]+|~/\.venv)/lib(?:64)?/python[0-9.]+/site-packages|/tmp/pip-[a-z-]+-X)/"
)
"""What the installer unpacks has the names that its package gives it: the place and the ending count."""
_ENDING: Final = re.compile(r"(\.[A-Za-z]+)(?:\.N)?")


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One empty package, run to see what is usual."""

    name: str
    """E.g. `setuptools`: its build backend; `wheel` for one that is not built."""
    completed: bool
    """Its installation came to its end. Of one that failed only what came before is in the baseline."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shapes of all events of some empty packages, in one image and one kind of pod."""

    schema: Literal["fumehood.baseline/1"]
    image: str
    """Digest of the image."""
    pod: str
    runtime: str = ""
    """The container runtime; empty for the embedded pod."""
    recorded: tuple[Recorded, ...]
    shapes: tuple[str, ...]
    """Sorted."""


class BaselineReport(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a run is as in an empty package."""

    sha256: str
    """Digest of the baseline's file in the bundle."""
    recorded: tuple[Recorded, ...]
    events: int
    """Events as in an empty package."""
    of: int
    """All events."""


class Shaper:
    """Gives events of one run their shapes."""

    def __init__(self, manifest: Manifest) -> None:
        """Take what differs from run to run: the home, and name and version of the package."""
        package = manifest.package
        words = [re.escape(part) for part in re.split(r"[-_.]+", package.name) if part]
        name = r"[-_.]+".join(words) or r"(?!)"
        version = re.escape(package.version)
        self._word = next(iter(re.split(r"[-_.]+", package.name.lower().strip("-_."))), "")
        """In lower case, what stands in every text with the name."""
        self._own = re.compile(rf"(?<![A-Za-z0-9]){name}(?:[-_]{version})?(?![A-Za-z0-9])", re.IGNORECASE)
        self._home = manifest.home
        self._texts: dict[tuple[str, bool], str] = {}

    def shape(self, event: AnyEvent) -> str:
        """The shape of an event: phase, class of actor, kind and fields, without what differs from run to run.

        Returns:
            The same text for events that are alike; empty for one that carries bait, which is never usual.
        """
        if getattr(event, "bait", ()):
            return ""
        actor = event.actor
        if actor.startswith(DEPENDENCY):
            # Once dependencies are installed, an interpreter's start is the same act whoever has a hook in it.
            actor = TARGET if event.phase in _STARTS else "dependency"
        words = [event.phase, actor, str(type(event).__struct_config__.tag)]
        if isinstance(event, ResourceSample):
            # How much is never twice the same.
            return " ".join(words)
        if getattr(event, "role", "") == "registry":
            # Which pages and files it asks for is what makes a package another one.
            return " ".join([*words, "role=registry", event.errno])
        for name in _names(type(event)):
            value = getattr(event, name)
            if value not in ("", (), False, 0):
                words.append(f"{name}={self._value(value, unpacks=actor == INSTALLER)}")
        return " ".join(words)

    def _value(self, value: Any, *, unpacks: bool) -> str:  # noqa: ANN401 - the fields of all events
        if isinstance(value, str):
            return self._text(value, unpacks=unpacks)
        if isinstance(value, tuple):
            return "|".join(self._text(str(part), unpacks=unpacks) for part in value)
        return str(value)

    def _text(self, text: str, *, unpacks: bool) -> str:
        known = self._texts.get((text, unpacks))
        if known is not None:
            return known
        made = text.replace(self._home, "~")
        # Other letters may be the same ones as far as expressions without case go.
        if self._word in made.lower() or not made.isascii():
            made = self._own.sub("PACKAGE", made)
        for always, pattern, place in _RANDOM:
            if always in made:
                made = pattern.sub(place, made)
        if unpacks and (unpacked := _UNPACKED.match(made)) and "\n" not in made:
            made = f"{unpacked[1]}/*{_ending(made[unpacked.end() :])}"
        if len(self._texts) < _CACHED:
            self._texts[text, unpacks] = made
        return made


def _ending(path: str) -> str:
    """The last suffix of a file's name that is of letters, without a number behind it; empty when it has none."""
    last = path.rfind(".")
    for start in (path.rfind(".", 0, last), last) if last > 0 else (last,):
        if start >= 0 and (found := _ENDING.fullmatch(path, start)):
            return found[1]
    return ""


@cache
def _names(cls: type[Event]) -> tuple[str, ...]:
    """The fields that make a shape; numbers of other processes do not."""
    numbers = {"target"} if cls.__struct_config__.tag in {"process.access", "process.signal"} else set()
    return tuple(name for name in cls.__struct_fields__ if name not in _SKIPPED | numbers)


def read(bundle: Bundle) -> Baseline | None:
    """Read the baseline that a bundle carries.

    Args:
        bundle: The evidence.

    Returns:
        None when it carries none.

    Raises:
        BundleError: It is damaged, or of another image.
    """
    if not bundle.has(BASELINE):
        return None
    where = f"{bundle.path}: {BASELINE}"
    try:
        baseline = msgspec.json.decode(bundle.text(BASELINE), type=Baseline)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BundleError(
            f"{where}: not as it must be: {error}; the bundle is damaged or of another version"
        ) from error
    if baseline.image != bundle.manifest.image.digest:
        raise BundleError(f"{where}: it is of another image; the bundle is damaged")
    return baseline


class Usual:
    """Knows what an empty package does too."""

    def __init__(self, baseline: Baseline, manifest: Manifest) -> None:
        """Take what was recorded, and the run that is compared with it."""
        self._shaper, self._shapes = Shaper(manifest), frozenset(baseline.shapes)
        self._known: dict[object, bool] = {}

    def has(self, event: AnyEvent) -> bool:
        """Say whether an empty package has such an event."""
        said = _said(type(event))(event)
        known = self._known.get(said)
        if known is None:
            known = self._shaper.shape(event) in self._shapes
            if len(self._known) < _CACHED:
                self._known[said] = known
        return known


class UsualReader:
    """Counts the events of a run that are as in an empty package."""

    kinds: Final = get_args(AnyEvent)

    def __init__(self, baseline: Baseline, manifest: Manifest) -> None:
        """Begin."""
        self._baseline = baseline
        self._usual = Usual(baseline, manifest)
        self._sha256 = manifest.files[BASELINE].sha256
        self._as_usual = self._all = 0

    def see(self, event: AnyEvent) -> None:
        """Take the next event."""
        self._all += 1
        self._as_usual += self._usual.has(event)

    def heeds(self, _actor: str) -> bool:
        """All are counted."""
        return True

    def reading(self, first: Brief) -> Callable[[Brief], None]:
        """Take readings of a file in brief."""
        return self._usual_one if self._usual.has(first.event()) else self._other_one

    def _usual_one(self, _: Brief) -> None:
        self._all += 1
        self._as_usual += 1

    def _other_one(self, _: Brief) -> None:
        self._all += 1

    def report(self) -> BaselineReport:
        """Give the numbers."""
        return BaselineReport(
            sha256=self._sha256, recorded=self._baseline.recorded, events=self._as_usual, of=self._all
        )


@cache
def _said(cls: type[Event]) -> Callable[[AnyEvent], object]:
    """What gives all of an event that its shape is made of."""
    return attrgetter("__class__", "phase", "actor", *_names(cls))
