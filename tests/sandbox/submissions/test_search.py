"""Lists of submissions are read off an index, however many there are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import text

from sandbox.submissions.model import Request
from sandbox.submissions.search import Filter, search, statement
from sandbox.submissions.submit import submit

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

NOW = 1_800_000_000.0
REQUEST = Request(package="pkg:pypi/thing", profile="pypi", profile_sha256="a" * 64, rules_sha256="b" * 64, force=True)
IN_ORDER = [
    Filter(),
    Filter(state="done"),
    Filter(state="queued", lane="sweep"),
    Filter(verdict="malicious"),
    Filter(submitter="scanner"),
    Filter(origin="0" * 26),
    Filter(since=NOW),
]
FEW = [Filter(package="pkg:pypi/thing"), Filter(sha256="c" * 64)]
"""So few are found that they may be sorted."""


def test_the_versions_of_a_package_are_found_and_nothing_that_begins_alike(engine: Engine) -> None:
    other = ("Thing@1.0", "thing-x@1.0", "thing.x", "things@1.0", "thin@1.0", "thingA")
    for name in ("thing", "thing@1.0", "thing@2.0+a", *other):
        submit(engine, msgspec.structs.replace(REQUEST, package=f"pkg:pypi/{name}"), NOW)
    found = search(engine, Filter(package="pkg:pypi/thing"), None, 50)
    assert sorted(it.package for it in found) == ["pkg:pypi/thing", "pkg:pypi/thing@1.0", "pkg:pypi/thing@2.0+a"]
    assert [it.package for it in search(engine, Filter(package="pkg:pypi/thing@1.0"), None, 50)] == [
        "pkg:pypi/thing@1.0"
    ]


def test_lists_are_read_off_an_index(engine: Engine) -> None:
    submit(engine, REQUEST, NOW)
    with engine.connect() as connection:
        for wanted, after in itertools.product(IN_ORDER + FEW, (None, (NOW, "0" * 26))):
            plan = _plan(connection, wanted, after)
            never = ["SCAN submissions\n", "Seq Scan"] + (["TEMP B-TREE", "Sort"] if wanted in IN_ORDER else [])
            assert not [word for word in never if word in plan], (wanted, plan)


def _plan(connection: Connection, wanted: Filter, after: tuple[float, str] | None) -> str:
    query = statement(wanted, after, 51).compile(connection, compile_kwargs={"literal_binds": True})
    if connection.dialect.name == "sqlite":
        return "".join(f"{row[3]}\n" for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}"))
    # With so few rows it would rather read them all, and sort them.
    for setting in ("seqscan", "sort") if wanted in IN_ORDER else ("seqscan",):
        connection.execute(text(f"SET LOCAL enable_{setting} = off"))
    return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {query}"))
