"""What rules see of each kind of event."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collector.processes import ProcessTable
from collector.sigma.fields import CATEGORIES, KINDS, field_names, fields_by_kind, getters_by_kind
from collector.sigma.view import Context, Value, View
from tests.collector.sigma.sigmas import context, lines_of_examples, shipped, told

DOCUMENT = Path(__file__).parents[3] / "docs" / "rules.md"


TREE = (
    'install installer 2 process.exec image=/usr/bin/python3.11 argv=["python","-m","pip"]',
    'install target 3 process.exec image=/bin/sh argv=["sh","-c","make all"] parent=2 cwd=/src',
    "install target 5 process.start parent=3",
)


def value(line: str, name: str, *before: str) -> Value:
    events = told(*before, line)
    return View(events[-1], context(events), getters_by_kind()[type(events[-1])]).value(name)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            (
                'install target 9 process.exec image=/bin/sh argv=["sh","-c","a b"] cwd=/src parent=3 '
                'parent_image=/usr/bin/make parent_argv=["make","all"] stdio=192.0.2.1:9 origin=downloaded '
                'bait=["a/hex"] errno=EACCES'
            ),
            {
                "Kind": "process.exec",
                "Phase": "install",
                "Actor": "target",
                "Errno": "EACCES",
                "ProcessId": 9,
                "Image": "/bin/sh",
                "CommandLine": "sh -c a b",
                "CurrentDirectory": "/src",
                "ParentImage": "/usr/bin/make",
                "ParentCommandLine": "make all",
                "ParentProcessId": 3,
                "User": "dev",
                "Stdio": "192.0.2.1:9",
                "Origin": "downloaded",
                "Bait": ("a/hex",),
                "HostRole": None,
                "HomePath": None,
            },
        ),
        (
            "import target 9 process.exec image=/home/dev/.cache/x",
            {"HomePath": "~/.cache/x", "Image": "/home/dev/.cache/x"},
        ),
        (
            "import target 9 file.read path=/home/dev/.netrc",
            {"TargetFilename": "/home/dev/.netrc", "HomePath": "~/.netrc"},
        ),
        ("import target 9 file.read path=/home/dev", {"HomePath": "~"}),
        ("import target 9 file.read path=/home/developer/x", {"HomePath": None, "Errno": ""}),
        (
            "import target 9 file.write path=/a created=true",
            {"TargetFilename": "/a", "Created": True, "SourceFilename": None},
        ),
        (
            "import target 9 file.rename path=/b old=/a",
            {"TargetFilename": "/b", "SourceFilename": "/a", "Created": None},
        ),
        ("import target 9 file.link path=/l target=/a", {"TargetFilename": "/l", "LinkTarget": "/a"}),
        ("import target 9 file.delete path=/a", {"TargetFilename": "/a"}),
        ("import target 9 file.mode path=/a mode=0755", {"TargetFilename": "/a", "Mode": "0755"}),
        (
            "import target 9 network.connect ip=192.0.2.1 port=443 host=a.test role=registry",
            {
                "DestinationIp": "192.0.2.1",
                "DestinationPort": 443,
                "DestinationHostname": "a.test",
                "Protocol": "tcp",
                "Initiated": True,
                "HostRole": "registry",
            },
        ),
        (
            "import target 9 network.listen ip=127.0.0.1 port=80",
            {"SourceIp": "127.0.0.1", "SourcePort": 80, "Protocol": "tcp"},
        ),
        ("import target 9 network.unix path=@x", {"TargetFilename": "@x"}),
        (
            'import target - network.payload ip=192.0.2.1 port=9 protocol=udp payload=hi size=2 bait=["a/plain"]',
            {"Payload": "hi", "Size": 2, "Protocol": "udp", "Bait": ("a/plain",), "ProcessId": None, "Image": None},
        ),
        (
            "import target - dns.query name=a.test qtype=TXT",
            {"QueryName": "a.test", "QueryType": "TXT", "query": "a.test", "record_type": "TXT", "HostRole": ""},
        ),
        (
            "import target - tls.hello ip=192.0.2.1 sni=a.test completed=false",
            {"ServerName": "a.test", "Completed": False, "DestinationIp": "192.0.2.1", "DestinationPort": 443},
        ),
        (
            (
                "import target - http.request method=POST host=a.test target=/p?q=1 tls=true "
                "user_agent=x status=200 size=3 body=abc"
            ),
            {
                "c-uri": "https://a.test/p?q=1",
                "c-uri-query": "q=1",
                "cs-method": "POST",
                "cs-host": "a.test",
                "r-dns": "a.test",
                "c-useragent": "x",
                "sc-status": 200,
                "cs-bytes": 3,
                "Body": "abc",
            },
        ),
        (
            "import target - http.request method=GET host=a.test target=/",
            {"c-uri": "http://a.test/", "sc-status": None},
        ),
        ("import target - http.request method=GET host=a.test target=http://b.test/", {"c-uri": "http://b.test/"}),
        ("import target - http.request method=OPTIONS host=a.test target=*", {"c-uri": "http://a.test/*"}),
        ("import target 9 process.access call=ptrace target=4", {"Call": "ptrace", "TargetProcessId": 4}),
        ("import target 9 memory.file name=x", {"Name": "x"}),
        (
            "import target 9 kernel.call call=unshare args=CLONE_NEWUSER",
            {"Call": "unshare", "Arguments": "CLONE_NEWUSER"},
        ),
    ],
)
def test_fields_of_events(line: str, fields: dict[str, Value]) -> None:
    assert {name: value(line, name) for name in fields} == fields


def test_program_and_arguments_are_those_of_the_process_then() -> None:
    read = "install target 3 file.read path=/a"
    assert value(read, "Image", *TREE) == "/bin/sh"
    assert value(read, "CommandLine", *TREE) == "sh -c make all"
    assert value("install target 5 file.read path=/a", "Image", *TREE) == "/bin/sh"
    assert value("install target 77 file.read path=/a", "Image", *TREE) is None
    later = 'install target 3 process.exec image=/usr/bin/make argv=["make"]'
    events = told(*TREE, read, later)
    assert View(events[3], context(events), getters_by_kind()[type(events[3])]).value("Image") == "/bin/sh"


def test_a_parent_that_is_not_told_is_looked_up() -> None:
    line = "install target 6 process.exec image=/bin/true parent=3"
    assert value(line, "ParentImage", *TREE) == "/bin/sh"
    assert value(line, "ParentCommandLine", *TREE) == "sh -c make all"


def test_ancestors_are_programs_of_parents_nearest_first() -> None:
    assert value("install target 5 file.read path=/a", "Ancestors", *TREE) == ("/bin/sh", "/usr/bin/python3.11")
    assert value("install installer 2 file.read path=/a", "Ancestors", *TREE) == ()
    assert value("install target - dns.query name=a.test", "Ancestors", *TREE) is None


def test_every_kind_of_event_has_a_category_or_is_seen_by_rules_for_all() -> None:
    getters = getters_by_kind()
    assert set(getters) == set(KINDS)
    for category in CATEGORIES:
        own = {field.name for field in category.fields}
        assert all(own <= set(getters[kind]) for kind in category.kinds)
        assert own <= set(field_names(category))


def test_what_a_field_depends_on_is_told_truly() -> None:
    events = told(*lines_of_examples(shipped()))
    where, elsewhere = context(events), Context("/home/dev", "dev", ProcessTable())
    of_setting: dict[tuple[object, ...], Value] = {}
    checked = set()
    for event in events:
        other = msgspec.structs.replace(event, ts=event.ts + 1e6, pid=event.pid + 99_999)
        for name, field in fields_by_kind()[type(event)].items():
            checked.add((type(event), field.source))
            if field.source == "process":
                continue
            found = field.get(event, where)
            assert found == field.get(other, elsewhere), name
            if field.source == "setting":
                setting = (name, type(event), event.phase, event.actor, event.errno)
                assert of_setting.setdefault(setting, found) == found
    assert len({kind for kind, _ in checked}) > 20
