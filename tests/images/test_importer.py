"""The importer in the real root filesystem: what it reports, and that each module has a process of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.images.pods import LOG, PYTHON, make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.images.pods import SmallPod

pytestmark = pytest.mark.pod

HANG = "import signal\nwhile True:\n    signal.pause()\n"
DAEMONISE = LOG + (
    "import signal, sys\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    '        open(os.environ["HOME"] + "/daemon", "w").close()\n'
    "        signal.pause()\n"
    "    os._exit(0)\n"
    "os.wait()\n"
)
THREADS = LOG + "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
PROBE = """
import json, os, sys, __main__

fds = []
for fd in os.listdir("/proc/self/fd"):
    try:
        fds.append(os.readlink(f"/proc/self/fd/{fd}"))
    except FileNotFoundError:
        pass  # the listing's own
try:
    peek = os.readlink(f"/proc/{os.getppid()}/fd/0")
except PermissionError:
    peek = "refused"
seen = {
    "isolated": sys.flags.isolated, "no_site": sys.flags.no_site, "argv": sys.argv, "first": sys.path[0],
    "prefix": sys.prefix, "path": sys.path, "main": hasattr(__main__, "__file__"), "hook": os.environ.get("HOOK"),
    "stdin": os.readlink("/proc/self/fd/0"), "fds": fds, "peek": peek, "quit": "quit" in __builtins__,
    "ours": [name for name in sys.modules if "fumehood" in name],
}
with open(os.environ["HOME"] + "/seen", "w") as file:
    json.dump(seen, file)
"""


def installed(pod: SmallPod, files: Mapping[str, str], name: str = "sample") -> SmallPod:
    make_wheel(pod.wheels, name, files)
    pod.install(name)
    return pod


def test_every_module_is_imported_in_a_process_of_its_own(importer_pod: SmallPod) -> None:
    files = dict.fromkeys(
        (
            "tree/__init__.py",
            "tree/leaf.py",
            "tree/sub/__init__.py",
            "tree/sub/deep.py",
            "tree/space/inner.py",
            "alone.py",
        ),
        LOG,
    )
    skipped = {"tree/__main__.py": LOG, "tree/not-a-name.py": LOG, "tree/data.txt": "", "tree/my-data/x.py": LOG}
    report = installed(importer_pod, {**files, **skipped}).drive("importer.py", "Sample")
    assert report == {"unit": "module", "planned": 6, "reached": 6, "failed": [], "timed_out": [], "unreached": []}
    log = importer_pod.log()
    assert sorted(name for name, _ in log) == [
        "alone",
        "tree",
        "tree.leaf",
        "tree.space.inner",
        "tree.sub",
        "tree.sub.deep",
    ]
    assert len({pid for _, pid in log}) == len(log)


def test_what_a_package_imports_itself_counts_and_runs_once(importer_pod: SmallPod) -> None:
    files = {"tree/__init__.py": LOG + "import tree.leaf\n", "tree/leaf.py": LOG}
    assert installed(importer_pod, files).drive("importer.py", "sample")["reached"] == 2
    assert sorted(name for name, _ in importer_pod.log()) == ["tree", "tree.leaf"]


def test_failures_are_told_with_one_line_each(importer_pod: SmallPod) -> None:
    files = {
        "tree/__init__.py": "",
        "tree/bad.py": 'raise ValueError("first\\nsecond" + "x" * 5000)\n',
        "tree/quits.py": "raise SystemExit(3)\n",
        "tree/leaves.py": "import os\nos._exit(0)\n",
        "tree/native.cpython-311-x86_64-linux-gnu.so": "not a library",
        "tree/rude.py": "class Rude(Exception):\n    def __str__(self):\n        raise SystemExit\nraise Rude\n",
        "tree/broken/__init__.py": "import surely_absent\n",
        "tree/broken/below.py": LOG,
    }
    report = installed(importer_pod, files).drive("importer.py", "sample")
    reasons = dict(entry.split(": ", 1) for entry in report["failed"])
    assert report["planned"] == report["reached"] == 8
    assert reasons["tree.bad"].startswith("ValueError: first?second")
    assert max(map(len, reasons.values())) <= 200
    assert reasons["tree.quits"] == "SystemExit: 3"
    assert reasons["tree.leaves"] == "its process ended during the import"
    assert reasons["tree.native"].startswith("ImportError: ")
    assert reasons["tree.rude"] == "Rude: (no text)"
    assert reasons["tree.broken"] == "ModuleNotFoundError: No module named 'surely_absent'"
    assert reasons["tree.broken.below"] == "its package tree.broken failed"
    assert not (importer_pod.home / "log").exists()


def test_a_module_that_hangs_costs_only_its_own_time(importer_pod: SmallPod) -> None:
    files = {
        "tree/__init__.py": LOG,
        "tree/hangs.py": HANG,
        "tree/later.py": LOG,
        "tree/stuck/__init__.py": HANG,
        "tree/stuck/below.py": LOG,
    }
    report = installed(importer_pod, files).drive("importer.py", "sample", each=2)
    assert report["timed_out"] == ["tree.hangs", "tree.stuck"]
    assert report["unreached"] == ["tree.stuck.below"]
    assert report["reached"] == 2
    assert "tree.later" in dict(importer_pod.log())


def test_left_behind_processes_do_not_hold_it_up(importer_pod: SmallPod) -> None:
    files = {"tree/__init__.py": DAEMONISE, "tree/leaf.py": LOG, "tree/more.py": DAEMONISE}
    report = installed(importer_pod, files).drive("importer.py", "sample")
    assert (report["reached"], report["failed"], report["timed_out"]) == (3, [], [])
    assert (importer_pod.home / "daemon").exists()


def test_threads_are_not_forked(importer_pod: SmallPod) -> None:
    count = LOG + "count = len(os.listdir('/proc/self/task'))\nassert count == 1, count\n"
    files = {
        "tree/__init__.py": LOG,
        "tree/pool/__init__.py": THREADS,
        "tree/pool/leaf.py": LOG,
        "tree/other.py": count,
    }
    report = installed(importer_pod, files).drive("importer.py", "sample")
    assert (report["reached"], report["failed"]) == (4, [])
    log = importer_pod.log()
    leaf = next(pid for name, pid in log if name == "tree.pool.leaf")
    assert {name for name, pid in log if pid == leaf} == {"tree", "tree.pool", "tree.pool.leaf"}


def test_a_copy_that_the_package_forks_does_not_go_on_importing(importer_pod: SmallPod) -> None:
    files = {"tree/__init__.py": "import os\nos.fork()\n" + LOG, "tree/leaf.py": LOG}
    report = installed(importer_pod, files).drive("importer.py", "sample")
    assert (report["planned"], report["reached"], report["failed"]) == (2, 2, [])
    assert [name for name, _ in importer_pod.log()].count("tree.leaf") == 1


def test_a_module_sees_an_ordinary_interpreter(importer_pod: SmallPod) -> None:
    hook = {"sample.pth": "import os; os.environ['HOOK'] = 'ran'\n"}
    pod = installed(importer_pod, {"probe.py": PROBE, **hook})
    assert pod.drive("importer.py", "sample")["failed"] == []
    seen = json.loads((pod.home / "seen").read_text())
    assert (seen["isolated"], seen["no_site"], seen["argv"], seen["first"], seen["main"]) == (0, 0, ["-c"], "", False)
    assert (seen["prefix"], seen["hook"], seen["quit"]) == ("/home/dev/.venv", "ran", True)
    assert "/home/dev/.venv/lib/python3.11/site-packages" in seen["path"]
    assert "/opt/fumehood" not in seen["path"]
    assert (seen["stdin"], seen["peek"], seen["ours"]) == ("/dev/null", "refused", [])
    assert f"pipe:[{pod.result_pipe}]" not in seen["fds"]


def test_a_start_hook_that_ends_the_interpreter_fails_every_module(importer_pod: SmallPod) -> None:
    files = {"tree/__init__.py": LOG, "tree/leaf.py": LOG, "sample.pth": "import os; os._exit(0)\n"}
    report = installed(importer_pod, files).drive("importer.py", "sample")
    assert (report["planned"], len(report["failed"])) == (2, 2)


def test_a_module_cannot_speak_for_another(importer_pod: SmallPod) -> None:
    lie = (
        "import json, os\n"
        "for fd in os.listdir('/proc/self/fd'):\n"
        "    if os.path.exists(f'/proc/self/fd/{fd}') or os.path.islink(f'/proc/self/fd/{fd}'):\n"
        "        if os.readlink(f'/proc/self/fd/{fd}').startswith('socket:'):\n"
        "            for name in ('b', 'b.bad', 'absent', ['b'], None):\n"
        "                os.write(int(fd), json.dumps(['done', name, True, '', True]).encode())\n"
        "            os.write(int(fd), b'[' * 4000)\n"
        "            open(os.environ['HOME'] + '/lied', 'w').close()\n"
    )
    files = {"a.py": lie, "b/__init__.py": "", "b/bad.py": "raise ValueError\n"}
    report = installed(importer_pod, files).drive("importer.py", "sample")
    assert (importer_pod.home / "lied").exists()
    assert (report["reached"], report["failed"]) == (3, ["b.bad: ValueError: "])


def test_what_the_budget_does_not_reach_is_said(importer_pod: SmallPod) -> None:
    files = {"a_hangs.py": HANG, "b_hangs.py": HANG, "c_later.py": LOG}
    report = installed(importer_pod, files).drive("importer.py", "sample", each=60, budget=1)
    assert (report["planned"], report["reached"]) == (3, 0)
    assert report["unreached"] == ["a_hangs", "b_hangs", "c_later"]


@pytest.mark.parametrize("busy", [1, 0], ids=["looks-after-others", "is-at-something"])
def test_only_what_is_at_something_of_its_own_is_ended_while_others_import(importer_pod: SmallPod, busy: int) -> None:
    slow = "import select\nselect.poll().poll(1500)\n"
    # In the first case a process that only waits for the modules below it, in the second one whose own thread goes on.
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(20,)).start()\n"
    files = {
        "top/__init__.py": "",
        "top/a/__init__.py": "" if busy else thread,
        **{f"top/{'a' if busy else 'b'}/m{number}.py": slow for number in range(4)},
        **({} if busy else {"top/b/__init__.py": ""}),
    }
    pod = installed(importer_pod, files)
    code = (
        "import sys; sys.path.insert(0, '/opt/fumehood'); import importer; "
        "importer.SURVIVORS = 0; importer.QUIET = 0.5; sys.exit(importer.main())"
    )
    limits = ("--result-fd", "1", "--each", "20", "--budget", "60")
    report = json.loads(pod.run("/usr/bin/python3", "-I", "-S", "-c", code, *limits, "sample").stdout)
    assert report["timed_out"] == ([] if busy else ["top.a"])
    assert report["reached"] == report["planned"] - len(report["timed_out"])


def test_sigterm_ends_it_with_a_report(importer_pod: SmallPod) -> None:
    pod = installed(importer_pod, {"hangs.py": LOG + HANG})
    script = (
        f"{PYTHON} -I -S /opt/fumehood/importer.py --result-fd 1 --each 60 --budget 60 sample & "
        "until [ -e log ]; do :; done; kill -TERM $!; wait $!"
    )
    report = json.loads(pod.run("sh", "-c", script).stdout)
    assert report["unreached"] == ["hangs"]


def test_a_distribution_that_is_not_installed_is_an_error_with_an_empty_report(importer_pod: SmallPod) -> None:
    argv = ("/opt/fumehood/importer.py", "--result-fd", "1", "--each", "1", "--budget", "1", "absent")
    done = importer_pod.run(PYTHON, "-I", "-S", *argv, check=False)
    assert done.returncode == 3
    assert json.loads(done.stdout)["planned"] == 0
    assert "absent is not installed" in done.stderr
