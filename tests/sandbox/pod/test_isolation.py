"""No packet leaves, and nothing of the host is reached: tried from inside, watched from outside."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.escape.host import Host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.pod.bench import StartPod

pytestmark = pytest.mark.pod

_PROBE = """
import json, os, socket, sys
targets = json.loads(sys.argv[1])
seen = {}
def attempt(name, act):
    try:
        seen[name] = str(act())
    except OSError as error:
        seen[name] = "error " + str(error.errno)
def dial(family, kind, address):
    with socket.socket(family, kind) as s:
        s.settimeout(3)
        s.connect(address)
        s.send(b"from the pod")
        return s.recv(100) if kind == socket.SOCK_STREAM else "sent"
for name, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
    for host, port in targets[name]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        attempt(f"{name} {host}", lambda: dial(family, kind, (host, port)))
attempt("abstract", lambda: dial(socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + targets["abstract"]))
attempt("path", lambda: dial(socket.AF_UNIX, socket.SOCK_STREAM, targets["path"]))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("raw6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
attempt("vsock", lambda: dial(socket.AF_VSOCK, socket.SOCK_STREAM, (2, targets["tcp"][0][1])))
seen["interfaces"] = sorted(name for _, name in socket.if_nameindex())
seen["routes"] = [line.split()[0] for line in open("/proc/net/route").read().splitlines()[1:]]
print(json.dumps(seen))
"""


def test_no_packet_reaches_the_host_or_anything_beyond(start_pod: StartPod, tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    with Host(tmp_path / "machine", tmp_path) as host, start_pod() as bench:
        targets = {
            "tcp": [*(address for _, address in host.targets["tcp"]), ("203.0.113.9", 8080), ("2001:db8::9", 8080)],
            "udp": [*(address for _, address in host.targets["udp"]), ("203.0.113.9", 5000), ("2001:db8::9", 5000)],
            "abstract": host.targets["abstract"],
            "path": host.targets["path"],
        }
        phase = bench.run("/usr/bin/python3", "-c", _PROBE, json.dumps(targets), seconds=60)
        seen = json.loads(bench.output(phase) or "{}")
        assert phase.status == "completed", bench.output(phase, "stderr")
        gateway = (bench.directory / "gateway/gateway.jsonl").read_text()
        assert host.changes() == []
    assert seen["interfaces"] == ["lo"]
    assert seen["routes"] == []
    for kind in ("abstract", "path", "raw", "raw6", "packet", "vsock"):
        assert seen[kind].startswith("error "), (kind, seen[kind])
    # What was dialled did arrive: at the gateway, which alone answers, and with the address that was meant.
    assert not seen["tcp 203.0.113.9"].startswith("error ")
    assert not seen["tcp 2001:db8::9"].startswith("error ")
    assert '"ip":"203.0.113.9","port":5000' in gateway
    assert '"ip":"2001:db8::9","port":5000' in gateway


def test_tracer_evidence_and_gateway_are_out_of_reach(start_pod: StartPod, pod_name: str, tmp_path: Path) -> None:
    code = f"""
import ctypes, os, json
others = [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
evidence = {str(tmp_path)!r}
names = []
for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
    names.append(open(f"/proc/{{pid}}/comm").read().strip())
def allowed(act):
    try:
        act()
    except OSError:
        return False
    return True
print(json.dumps({{
    "processes": sorted(names),
    "evidence": os.path.exists(evidence),
    "root": allowed(lambda: open("/x", "w")),
    "usr": allowed(lambda: open("/usr/bin/python3", "ab")),
    "etc": allowed(lambda: open("/etc/passwd", "a")),
    "drivers": allowed(lambda: open("/opt/fumehood/importer.py", "a")),
    "init_root": allowed(lambda: os.listdir("/proc/1/root" + evidence)),
    "capabilities": [l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")],
    "tracer": [l.split()[1] for l in open("/proc/self/status") if l.startswith("TracerPid")],
    "kill": any(allowed(lambda: os.kill(pid, 9)) for pid in others),
    "ptrace": any(ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0 for pid in others),
    # To open it is to reach it: at address 0, where nothing lies, reading fails for everybody.
    "memory": any(allowed(lambda: open(f"/proc/{{pid}}/mem", "rb")) for pid in others),
    "ours": allowed(lambda: os.listdir("/fumehood")),
    "traces": allowed(lambda: os.listdir("/fumehood/traces")),
    "descriptors": sorted(os.readlink(f"/proc/self/fd/{{fd}}").split(":")[0] for fd in (0, 1, 2)),
    "open": len(os.listdir("/proc/self/fd")),
}}))
"""
    with start_pod() as bench:
        phase = bench.python(code)
        assert phase.status == "completed", bench.output(phase, "stderr")
        seen = json.loads(bench.output(phase))
    if pod_name == "bubblewrap":
        # bubblewrap's reaper and the program itself: no tracer, no gateway, no process of the host.
        assert seen["processes"] == ["bwrap", "python3"]
        assert seen["tracer"] == ["0"]
    else:
        # Process 1, the phase's runner, the tracer (by the name of its loader) and the program: seen, not reached.
        assert seen["processes"] == ["ld.so", "python3", "python3", "python3"]
        for reach in ("kill", "ptrace", "memory", "ours", "traces"):
            assert seen[reach] is False, reach
    assert set(seen["capabilities"]) == {"0000000000000000"}
    assert seen["open"] == 4, "standard three and the listing itself: nothing of ours is inherited"
    for reach in ("evidence", "root", "usr", "etc", "drivers", "init_root"):
        assert seen[reach] is False, reach


def test_bait_and_secrets_stand_on_no_command_line(start_pod: StartPod, pod_name: str) -> None:
    with start_pod() as bench:
        ours: list[str] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                ours.extend(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))

        watcher = threading.Thread(target=watch)
        watcher.start()
        phase = bench.run("/bin/sh", "-c", "env; sleep 4")
        stop.set()
        watcher.join()
        if pod_name != "docker-runsc":  # whose processes are inside its own kernel
            assert any("sleep 4" in line for line in ours), "the watcher saw the phase's own processes"
        planted = [line.split("=", 1)[1] for line in bench.output(phase).splitlines() if line.startswith("AWS_SECRET")]
        assert planted, "the bait is in the environment"
        assert not any(value in line for value in planted for line in ours)
        execs = [line for line in bench.trace(phase).splitlines() if " execve(" in line]
        assert execs
        assert not any(value in line for value in planted for line in execs)


def test_the_package_makes_no_namespaces_of_its_own(start_pod: StartPod, pod_name: str) -> None:
    with start_pod() as bench:
        if pod_name == "docker-runsc":
            # Its own kernel allows them: they are gVisor's, not the machine's. The tracer sees the call.
            assert "unshare(CLONE_NEWUSER)" in bench.trace(bench.run("/usr/bin/unshare", "--user", "true"))
            return
        for kind in ("--user", "--mount", "--net", "--pid"):
            phase = bench.run("/usr/bin/unshare", kind, "true")
            assert phase.status == "failed"
            assert "unshare failed" in bench.output(phase, "stderr")
