"""The digest tells what came of sweeps, each thing once, and nothing in it that a package wrote does anything."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from sqlalchemy import insert, update

from collector.store.schema import FINDINGS, RUNS, TERMS
from sandbox.database import writing
from sandbox.database.schema import SUBMISSIONS, SWEEP_ENTRIES
from sandbox.submissions.model import Request
from sandbox.submissions.submit import submit
from sandbox.sweeps import rows
from sandbox.sweeps.digest import gather as gathering
from sandbox.sweeps.digest.gather import gather, to_json
from sandbox.sweeps.digest.markdown import code, plain, render_markdown
from sandbox.sweeps.digest.page import render_html
from sandbox.sweeps.feeds.feed import Entry, Page
from sandbox.sweeps.plan import FeedPlan, Sweep
from sandbox.sweeps.rows import Settled

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

NOW = 1_795_900_000.0
HOUR = 3600.0
HOSTILE = (
    "</li><script>alert(1)</script>\n# head ![i](http://x.test/i) `tick` @all #1 http://x.test "
    "\u202eevil\u2066\x1b[31m\0|"
)


class Night:
    """A sweep whose packages ran, as rows say it."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self._sweep = Sweep(name="nightly", directory=directory, feed=FeedPlan(kind="updates"))
        self.sweep_run = rows.begin(engine, self._sweep, "here", NOW, 60.0)
        self._runs = 0

    def named(self, name: str, state: Any, reason: str, why: str = "new release") -> None:
        """The feed named a package that was not submitted."""
        self._settle(name, Settled(state=state, reason=reason), why)

    def ran(
        self, name: str, version: str, verdict: str = "clean", *, at: float = NOW + HOUR, why: str = "new", **more: Any
    ) -> str:
        """A package was submitted, and ran."""
        run = self.earlier(name, version, verdict, at=at, **more)
        self._ended(name, version, {"state": "done", "verdict": verdict, "run": run, "ended": at}, why)
        return run

    def ended(self, name: str, state: str, reason: str, at: float = NOW + HOUR) -> None:
        """A package was submitted, and could not be run."""
        self._ended(name, "1.0", {"state": state, "reason": reason, "ended": at}, "new")

    def waits(self, name: str) -> None:
        self._ended(name, "1.0", {"state": "queued"}, "new")

    def earlier(self, name: str, version: str, verdict: str = "clean", *, at: float, **more: Any) -> str:
        """A run that no sweep of this night asked for; with `findings` (titles) and `contacts` (domains)."""
        findings, contacts = more.pop("findings", ()), more.pop("contacts", ())
        self._runs += 1
        run = f"run{self._runs}"
        blank = {column.name: "" for column in RUNS.columns}
        fixed = {
            "run": run, "created": at, "name": name, "version": version, "kind": "wheel", "profile": "pypi",
            "verdict": verdict, "reasons": [], "events": {}, "seconds": 1.0, "interrupted": False,
        }  # fmt: skip
        with writing(self.engine) as connection:
            connection.execute(insert(RUNS), {**blank, **fixed, **more})
            for contact in contacts:
                term = {"kind": "domain", "value": contact, "created": at, "run": run}
                connection.execute(insert(TERMS), term)
            for position, title in enumerate(findings):
                connection.execute(
                    insert(FINDINGS),
                    {
                        "run": run, "position": position, "rule": title[:64], "name": title.split()[0], "title": title,
                        "level": "high", "weight": "proof" if verdict == "malicious" else "context",
                        "suppressed": False, "phase": "import", "actor": "target", "count": 1, "attack": ["T1059"],
                    },
                )  # fmt: skip
        return run

    def _ended(self, name: str, version: str, values: dict[str, Any], why: str) -> None:
        purl = f"pkg:pypi/{name}@{version}"
        request = Request(
            package=purl, profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, lane="sweep", force=True
        )
        made = submit(self.engine, request, NOW)
        with writing(self.engine) as connection:
            connection.execute(update(SUBMISSIONS).where(SUBMISSIONS.c.id == made.submission.id).values(**values))
        self._settle(purl, Settled(state="submitted", release=purl, submission=made.submission.id), why)

    def _settle(self, purl: str, settled: Settled, why: str) -> None:
        page = Page(entries=(Entry(purl=purl, why=why),), cursor={})
        rows.add_page(self.engine, self.sweep_run, page, ("auto",))
        [entry] = rows.pending(self.engine, self.sweep_run, 0, 10)
        rows.settle(self.engine, self.sweep_run, entry, settled)

    def over(self, state: Any = "complete", reason: str = "") -> None:
        rows.end(self.engine, self.sweep_run, state, reason, NOW + HOUR / 2)


@pytest.fixture
def night(engine: Engine, tmp_path: Path) -> Night:
    return Night(engine, tmp_path)


def test_what_a_night_brought(night: Night) -> None:
    night.earlier("known", "0.9", "malicious", at=NOW - HOUR, findings=("exfil",))
    night.ran("fresh", "1.0", "malicious", findings=("exfil leaves", "reads keys"), classification="stealer")
    night.ran("known", "1.0", "malicious", findings=("exfil",))
    night.ran("odd", "1.0", "suspicious")
    night.ran("fine", "1.0")
    night.ran("unseen", "1.0", "inconclusive", reasons=["the trace is incomplete"])
    night.ended("broken", "failed", "no such file")
    night.ended("lost", "dead", "given up after 3 attempts")
    night.waits("later")
    night.named("huge", "skipped", "larger than 8 MiB")
    night.named("large", "skipped", "larger than 8 MiB")
    night.named("away", "gone", "not there any more")
    night.over("budget", "500 submissions")

    digest = gather(night.engine, NOW, NOW + 24 * HOUR)

    assert [(it.purl, it.verdict, it.before) for it in digest.bad] == [
        ("pkg:pypi/fresh@1.0", "malicious", ""),
        ("pkg:pypi/known@1.0", "malicious", "malicious"),
        ("pkg:pypi/odd@1.0", "suspicious", ""),
    ]
    assert [finding.title for finding in digest.bad[0].findings] == ["exfil leaves", "reads keys"]
    assert [(it.problem, it.purl, it.reasons) for it in digest.unknown] == [
        ("dead", "pkg:pypi/lost@1.0", ("given up after 3 attempts",)),
        ("failed", "pkg:pypi/broken@1.0", ("no such file",)),
        ("inconclusive", "pkg:pypi/unseen@1.0", ("the trace is incomplete",)),
    ]
    assert digest.ended == {"dead": 1, "done": 5, "failed": 1}
    assert digest.verdicts == {"clean": 1, "inconclusive": 1, "malicious": 2, "suspicious": 1}
    assert digest.waiting == 1
    (sweep,) = digest.sweeps
    assert sweep.state == "budget"
    assert sweep.passed_over == {"larger than 8 MiB": 2, "not there any more": 1}
    text = render_markdown(digest)
    assert "7 submissions ended; 5 ran, 1 could not be run, 1 given up; 2 malicious, 1 suspicious" in text
    assert "1 still wait or run" in text
    assert "first run of this project" in text
    assert "already malicious before" in text


def test_each_thing_is_told_once_in_spans_that_follow_one_another(night: Night) -> None:
    night.ran("early", "1.0", "malicious", at=NOW + HOUR)
    night.ran("late", "1.0", "malicious", at=NOW + 2 * HOUR)
    edges = [NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR]
    told = [[it.purl for it in gather(night.engine, *span).bad] for span in pairwise(edges)]
    assert told == [[], ["pkg:pypi/early@1.0"], ["pkg:pypi/late@1.0"]]


def test_only_what_a_sweep_asked_for(night: Night) -> None:
    night.ran("mine", "1.0", "malicious")
    request = Request(package="pkg:pypi/other@1", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64)
    other = submit(night.engine, request, NOW).submission.id
    with writing(night.engine) as connection:
        connection.execute(
            update(SUBMISSIONS)
            .where(SUBMISSIONS.c.id == other)
            .values(state="done", verdict="malicious", ended=NOW + 1)
        )
        # The sweep named it too, and it was not its own.
        connection.execute(
            insert(SWEEP_ENTRIES),
            {
                "run": night.sweep_run.id,
                "sweep": "nightly",
                "purl": "pkg:pypi/other@1",
                "artefact": "auto",
                "why": "",
                "state": "existing",
                "reason": "",
                "release": "",
                "tries": 0,
                "submission": other,
            },
        )
    assert [it.purl for it in gather(night.engine, NOW, NOW + 2 * HOUR).bad] == ["pkg:pypi/mine@1.0"]
    assert [it.purl for it in gather(night.engine, NOW, NOW + 2 * HOUR, "nightly").bad] == ["pkg:pypi/mine@1.0"]
    assert gather(night.engine, NOW, NOW + 2 * HOUR, "another").sweeps == ()


def test_behaviour_is_compared_with_the_previous_release(night: Night) -> None:
    before = NOW - 5 * HOUR
    night.earlier("thing", "1.9", at=before, findings=("old way", "same"), rules_sha256="x")
    night.earlier("thing", "1.10", at=before, findings=("wrong",), rules_sha256="x")
    latest = night.earlier("thing", "1.10", at=before + 1, findings=("gone", "same"), rules_sha256="x")
    night.earlier("thing", "2.1", at=before + 2, findings=("newer release", "same"))
    night.earlier("thing", "1.11", at=before + 2, findings=("other kind",), kind="sdist")
    night.earlier("thing", "1.11", at=before + 2, findings=("other profile",), profile="other")
    night.earlier("thing", "unreadable version", at=before + 2)
    night.ran("thing", "2.0", "suspicious", findings=("same", "fresh act"), rules_sha256="y")
    night.earlier("calm", "1.0", at=before, findings=("same",))
    night.ran("calm", "1.1", findings=("same",))
    night.earlier("quiet", "1.0", at=before, contacts=("known.test",))
    night.ran("quiet", "1.1", contacts=("known.test", "drop.evil.test"))
    night.ran("unheard-of", "1.0", findings=("anything",))

    digest = gather(night.engine, NOW, NOW + 24 * HOUR)
    quiet, change = digest.changed
    assert digest.compared == 3
    assert "3 of 4 runs could be compared" in render_markdown(digest)
    assert "3 of 4 runs could be compared" in render_html(digest)
    assert change.artefact == "wheel"

    assert change.purl == "pkg:pypi/thing@2.0"
    assert (change.previous, change.previous_run, change.previous_verdict) == ("pkg:pypi/thing@1.10", latest, "clean")
    assert [finding.name for finding in change.gained] == ["fresh"]
    assert [finding.name for finding in change.lost] == ["gone"]
    assert change.other_rules
    assert quiet.purl == "pkg:pypi/quiet@1.1"
    assert quiet.contacts == ("drop[.]evil[.]test",)
    assert not quiet.other_rules


def test_long_lists_are_cut_and_counted(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        night.ran(f"p{number}", "1.0", "malicious")
    monkeypatch.setattr(gathering, "LISTED", 3)
    digest = gather(night.engine, NOW, NOW + 2 * HOUR)
    assert len(digest.bad) == 3
    assert digest.left_out["bad"] == 2
    assert "New and bad (5)" in render_markdown(digest)
    assert "and 2 more" in render_markdown(digest)
    assert "and 2 more" in render_html(digest)


class Elements(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_night(night: Night) -> None:
    night.earlier("thing", "0.9", at=NOW - HOUR, findings=(f"was {HOSTILE}".replace("\0", ""),))
    text = HOSTILE.replace("\0", "")
    night.ran(
        "thing", "1.0", "malicious", why=HOSTILE, reasons=[text], findings=(f"act {text}",), classification=text[:64]
    )
    night.ran("dim", "1.0", "inconclusive", reasons=[text])
    night.ended("broken", "failed", text)
    night.named("thrown", "skipped", text, why=HOSTILE)
    page = Page(entries=(), cursor={}, notes=(HOSTILE,), bad=1)
    rows.add_page(night.engine, night.sweep_run, page, ("auto",))
    night.over("failed", text)


def test_html_holds_nothing_but_our_elements(night: Night) -> None:
    quiet = Elements(render_html(gather(night.engine, NOW, NOW + 1)))
    hostile_night(night)
    page = render_html(gather(night.engine, NOW, NOW + 2 * HOUR))
    seen = Elements(page)
    assert seen.tags <= quiet.tags | {"li", "ul", "span", "code", "b", "p"}
    assert seen.attributes <= {"charset", "lang", "name", "content", "http-equiv", "class"}
    assert seen.text.count("<script>alert(1)</script>") >= 7
    assert_harmless(page)
    assert "\\u202eevil" in seen.text


def test_markdown_holds_no_link_image_or_markup(night: Night) -> None:
    hostile_night(night)
    text = render_markdown(gather(night.engine, NOW, NOW + 2 * HOUR))
    assert_harmless(text)
    kinds: set[str] = set()
    outside = ""
    for token in MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(text):
        kinds.add(token.type)
        for child in token.children or ():
            kinds.add(child.type)
            outside += child.content if child.type == "text" else ""
    assert kinds <= {
        "heading_open", "heading_close", "inline", "paragraph_open", "paragraph_close", "bullet_list_open",
        "bullet_list_close", "list_item_open", "list_item_close", "text", "code_inline", "strong_open", "strong_close",
        "text_special",
    }  # fmt: skip
    assert "code_inline" in kinds
    assert text.count("alert(1)") >= 7


def test_json_is_ascii_and_whole(night: Night) -> None:
    hostile_night(night)
    body = to_json(gather(night.engine, NOW, NOW + 2 * HOUR))
    assert body.isascii()
    assert b"\x1b" not in body
    document = json.loads(body)
    assert "\u202eevil" in document["bad"][0]["reasons"][0]


def assert_harmless(text: str) -> None:
    assert not any(char in text for char in "\u202e\u2066\x1b\0\x9b")


@given(st.text())
def test_a_code_span_holds_its_text_and_nothing_else(text: str) -> None:
    (block, *_) = [token for token in MarkdownIt().parse(f"- a {code(text)} b") if token.type == "inline"]
    kinds = [child.type for child in block.children or ()]
    assert kinds == ["text", "code_inline", "text"]


@given(st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=1))
def test_plain_text_is_text(text: str) -> None:
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse(f"x{plain(text)}x")
    (block,) = [token for token in parsed if token.type == "inline"]
    assert {child.type for child in block.children or ()} <= {"text", "text_special"}
    assert "".join(child.content for child in block.children or ()) == f"x{text}x"
