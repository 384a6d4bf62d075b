from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

import pytest

from collector.located import nearest
from sandbox.errors import ProfileError
from sandbox.profile import PHASES, load_profile
from sandbox.resources import images_directory, profiles_directory, rules_directory

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = profiles_directory() / "pypi.yaml"


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The shipped profile with some text replaced."""
    text = SHIPPED.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "changed.yaml"
    path.write_text(text)
    return path


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def refusal(path: Path) -> tuple[int, str]:
    """Line and text of the error that a profile gives."""
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    match = re.fullmatch(rf"{re.escape(str(path))}:(\d+): (.*)", str(caught.value), re.DOTALL)
    assert match, str(caught.value)
    assert "\n" not in match[2]
    return int(match[1]), match[2]


def test_the_shipped_profile_loads_by_name() -> None:
    profile = load_profile("pypi")
    assert profile.name == "pypi"
    assert profile.ecosystem == "pypi"
    assert tuple(profile.phases) == PHASES
    assert profile.phases["import"].each
    assert profile.phases["install"].each is None
    assert profile.persona.home == "/home/martin"
    assert profile.persona.environment["OMP_NUM_THREADS"] == "1"
    assert profile.egress.registry
    assert profile.text == SHIPPED.read_text()
    assert profile.sha256 == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def test_the_shipped_settings_fit_on_a_screen() -> None:
    # The bait below them may be longer.
    assert line_of(SHIPPED, "bait:") < 55


def test_phases_are_given_in_running_order_whatever_the_file_says(tmp_path: Path) -> None:
    path = changed(tmp_path, ("  linger: {seconds: 5}\n", ""), ("phases:", "phases:\n  linger: {seconds: 7}\n#"))
    profile = load_profile(path)
    assert tuple(profile.phases) == PHASES
    assert profile.phases["linger"].seconds == 7


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{seconds: 600, each: 20}", "{minutes: 10, each: 20}", "unknown key 'minutes' in phases.import"),
        (
            "install: {seconds: 600}",
            "instal: {seconds: 600}",
            "unknown key 'instal' in phases; did you mean 'install'?",
        ),
        ("memory_mb: 6144", "memory_mb: 8GB", "limits.memory_mb: expected `int`, got `str`, found '8GB'"),
        ("memory_mb: 6144", "memory_mb: 0", "limits.memory_mb: expected `int` >= 64, found 0"),
        ("memory_mb: 6144", "memory_mb: 1e99", "limits.memory_mb: expected `int`"),
        ("memory_mb: 6144", "memory_mb: !!python/name:os.system x", "no place in a profile"),
        ("memory_mb: 6144", "memory_mb: [1]", "limits.memory_mb must be one value, not a list"),
        ("memory_mb: 6144", "memory_mb: 0x20000000", "'0x20000000' is not a plain decimal number"),
        ("processes: 512", "processes: 512\n  processes: 9", "key 'processes' is given twice"),
        ("registry: true", "registry: maybe", "egress.registry: expected `bool`"),
        ("ecosystem: pypi", "ecosystem: npm", "ecosystem: invalid enum value 'npm'"),
        ("user: martin", "user: ../root", "persona.user: expected `str` matching regex"),
        ("host: ws-{hex4}", "host: ws-{hex44}", "persona.host: expected `str` matching regex"),
        ("EDITOR: vim", "PIP_INDEX_URL: vim", "persona.environment: expected `str` matching regex"),
        ("gh-token: github-token", "gh-token: gihub-token", "did you mean 'github-token'?"),
        ("install: {seconds: 600}", "install: {seconds: 600, each: 3}", "phases.install has no units; remove 'each'"),
        ("{seconds: 180, each: 10}", "{seconds: 180}", "key 'each' is missing in phases.exercise"),
        ("    .netrc: |", "    ../.netrc: |", "bait.files: expected `str` matching regex"),
        ("    .netrc: |", "    .config/pip/pip.conf: |", "would change what pip does"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = changed(tmp_path, (old, new))
    line, text = refusal(path)
    assert expected in text
    assert line == line_of(path, new.splitlines()[-1].strip())


@pytest.mark.parametrize(
    ("old", "new", "where", "expected"),
    [
        ("{{gh-token}}", "{{ghtoken}}", "    .config/gh/hosts.yml", "did you mean 'gh-token'?"),
        (
            "{{ssh-private-key.public}}",
            "{{ssh-private-key.secret}}",
            "id_ed25519.pub",
            "has no part 'secret'; valid here: public",
        ),
        ("{{gh-token}}", "{{npm-token}}", "    .npmrc", "already planted in '.config/gh/hosts.yml'"),
        ("    gh-token: github-token", "    gh-token: github-token\n    more: password", "more:", "planted nowhere"),
        ("    gh-token: github-token", "    home: password", "    home: password", "bait cannot be called 'home'"),
    ],
)
def test_bait_that_does_not_fit_its_templates_is_refused(
    tmp_path: Path, old: str, new: str, where: str, expected: str
) -> None:
    path = changed(tmp_path, (old, new))
    line, text = refusal(path)
    assert expected in text
    # The value of a block is what is wrong; it starts on the line of its key or the one after.
    assert line_of(path, where) <= line <= line_of(path, where) + 1


def test_a_missing_key_names_the_part_that_lacks_it(tmp_path: Path) -> None:
    path = changed(tmp_path, ("  open_files: 4096 # of one process\n", ""))
    line, text = refusal(path)
    assert text == "key 'open_files' is missing in limits"
    assert line == line_of(path, "memory_mb:")


def test_a_missing_phase_is_an_error(tmp_path: Path) -> None:
    _, text = refusal(changed(tmp_path, ("  startup: {seconds: 20}\n", "")))
    assert text == "phase 'startup' is missing in phases; give its seconds"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        ("- a\n- b\n", "the profile must be a mapping"),
        ("name: [1\n", "not valid YAML"),
        ("name: \x07\n", "not valid YAML"),
        ("a: &a {b: *a}\n", "not valid YAML|unknown key"),
        ("[a, b]: c\n", "a key must be plain text"),
        ("{" * 5_000, "not valid YAML"),
        ("name: a\n---\nname: b\n", "not valid YAML"),
    ],
)
def test_what_is_no_profile_at_all_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    _, text = refusal(path)
    assert re.search(expected, text)


def test_an_alias_to_itself_ends(tmp_path: Path) -> None:
    path = changed(tmp_path, ("phases: #", "phases: &x #"), ("startup: {seconds: 20}", "startup: *x"))
    _, text = refusal(path)
    assert text


def test_a_profile_of_thousands_of_values_is_refused(tmp_path: Path) -> None:
    values = "\n".join(f"    v{number}: *e" for number in range(6_000))
    path = changed(tmp_path, ("    EDITOR: vim\n", f"    EDITOR: &e vim\n{values}\n"))
    _, text = refusal(path)
    assert "too many values" in text


def test_files_that_cannot_be_profiles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read: No such file"):
        load_profile(tmp_path / "none.yaml")
    with pytest.raises(ProfileError, match="cannot be read: Is a directory"):
        load_profile(tmp_path)
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    with pytest.raises(ProfileError, match="must be a regular file"):
        load_profile(fifo)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 300_000)
    with pytest.raises(ProfileError, match="larger than 256 KiB"):
        load_profile(large)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: a\nimage: \xe9\n")
    with pytest.raises(ProfileError, match=r"latin\.yaml:2: not UTF-8"):
        load_profile(latin)


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ProfileError, match="there is no profile 'pipy'; did you mean 'pypi'"):
        load_profile("pipy")


def test_errors_name_the_file_as_the_user_gave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    changed(tmp_path, ("memory_mb: 6144", "memory: 6144"))
    with pytest.raises(ProfileError, match=r"^changed\.yaml:\d+: unknown key 'memory' in limits; did you mean"):
        load_profile("changed.yaml")


def test_nearest_lists_everything_when_nothing_is_close() -> None:
    assert nearest("zzz", ["alpha", "beta"]) == "valid here: alpha, beta"
    assert nearest("zzz", []) == "nothing is valid here"


def test_shipped_directories_are_found() -> None:
    assert rules_directory().parent == profiles_directory()
    assert images_directory().is_dir()
