"""A bundle is read only when it is whole, unaltered and of a known version; hostile content stays bounded."""

from __future__ import annotations

import json
import os
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from collector import bundle as bundle_module
from collector.bundle import Bundle
from collector.errors import BundleError
from tests.collector.bundles import BAITS, compressed, make_phases, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRACE = "traces/import.strace.zst"


def edit_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((path / "manifest.json").read_text())
    change(document)
    (path / "manifest.json").write_text(json.dumps(document))


def test_opens_and_reads(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "b", traces={"import": "one\ntwo\n\nlast"}))
    assert bundle.manifest.package.name == "thing"
    assert bundle.bait == BAITS
    assert list(bundle.lines(TRACE)) == [b"one", b"two", b"", b"last"]
    assert bundle.text("profile.yaml") == "name: pypi\n"
    assert list(bundle.lines("traces/startup.strace.zst")) == []
    assert bundle.has(TRACE)
    assert not bundle.has("traces/linger.strace.zst")


def test_lines_do_not_depend_on_how_zstd_cuts(tmp_path: Path) -> None:
    lines = [os.urandom(number % 300).replace(b"\n", b"") for number in range(3000)]
    content = b"\n".join(lines) + b"\n"
    frames = compressed(content[:100_001]) + compressed(b"") + compressed(content[100_001:])
    bundle = Bundle.open(write_bundle(tmp_path / "b", extra={"output/x.zst": frames}))
    assert list(bundle.lines("output/x.zst")) == lines


def test_text_replaces_what_is_not_utf8(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "b", extra={"note": b"a\xffb"}))
    assert bundle.text("note") == "a\ufffdb"


@pytest.mark.parametrize("name", ["bait.json", "profile.yaml", TRACE, "gateway.jsonl.zst"])
def test_each_altered_byte_is_noticed(tmp_path: Path, name: str) -> None:
    path = write_bundle(tmp_path / "b", traces={"import": "x"})
    data = bytearray((path / name).read_bytes())
    data[-1] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name}.*sha256"):
        Bundle.open(path)


def test_a_longer_file_is_noticed(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    with (path / TRACE).open("ab") as stream:
        stream.write(b"x" * 200_000)
    with pytest.raises(BundleError, match="has not the size"):
        Bundle.open(path)


def test_the_first_bad_file_is_named(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    (path / TRACE).unlink()
    (path / "profile.yaml").unlink()
    with pytest.raises(BundleError, match=r"'profile\.yaml' is listed in the manifest but missing"):
        Bundle.open(path)


def test_an_added_file_is_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    (path / "traces" / "more").write_text("x")
    with pytest.raises(BundleError, match="'traces/more' is not listed"):
        Bundle.open(path)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    (path / "profile.yaml").rename(tmp_path / "elsewhere")
    (path / "profile.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"'profile\.yaml' is a link"):
        Bundle.open(path)
    (path / "profile.yaml").unlink()
    os.mkfifo(path / "profile.yaml")
    with pytest.raises(BundleError, match="link or a special file"):
        Bundle.open(path)


def test_a_linked_directory_is_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    (path / "traces").rename(tmp_path / "elsewhere")
    (path / "traces").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="'traces' is a link"):
        Bundle.open(path)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "traces/../../outside", "traces//x", "", ".", "manifest.json"]
)
def test_names_that_leave_the_bundle_are_refused(tmp_path: Path, name: str) -> None:
    path = write_bundle(tmp_path / "b")
    (tmp_path / "outside").write_text("x")
    edit_manifest(path, lambda m: m["files"].update({name: {"sha256": "0" * 64, "size": 1}}))
    with pytest.raises(BundleError, match="not a name inside the bundle"):
        Bundle.open(path)


def test_an_unlisted_name_cannot_be_read(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "b"))
    (tmp_path / "outside").write_text("x")
    with pytest.raises(BundleError, match="holds no file"):
        list(bundle.lines("../outside"))


def test_another_version_says_what_to_do(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    edit_manifest(path, lambda m: m.update({"schema": "fumehood.bundle/9", "new": 1}))
    with pytest.raises(BundleError, match=r"'fumehood\.bundle/9' .* read it with the fumehood that made it"):
        Bundle.open(path)


def test_unknown_keys_and_broken_json_are_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    edit_manifest(path, lambda m: m.update({"new": 1}))
    with pytest.raises(BundleError, match="unknown field `new`"):
        Bundle.open(path)
    (path / "manifest.json").write_text('{"schema": ')
    with pytest.raises(BundleError, match="not as it must be"):
        Bundle.open(path)
    (path / "manifest.json").write_text('{"x":' + "[" * 100_000)
    with pytest.raises(BundleError, match="not as it must be"):
        Bundle.open(path)


def test_a_phase_without_its_trace_is_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", phases=make_phases())
    edit_manifest(path, lambda m: m["files"].pop(TRACE))
    (path / TRACE).unlink()
    with pytest.raises(BundleError, match="does not list 'traces/import"):
        Bundle.open(path)


def test_missing_file_and_unsealed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such directory"):
        Bundle.open(tmp_path / "none")
    path = write_bundle(tmp_path / "b")
    with pytest.raises(BundleError, match="this is a file"):
        Bundle.open(path / "manifest.json")
    (tmp_path / "exported.zip").touch()
    with pytest.raises(BundleError, match="unpack it first"):
        Bundle.open(tmp_path / "exported.zip")
    (path / "manifest.json").unlink()
    with pytest.raises(BundleError, match="not a sealed bundle"):
        Bundle.open(path)
    (path / "link").symlink_to("elsewhere")
    with pytest.raises(BundleError, match="not a sealed bundle"):
        Bundle.open(path)
    (path / "manifest.json").mkdir()
    with pytest.raises(BundleError, match="not a sealed bundle"):
        Bundle.open(path)


def test_every_error_is_one_line(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    (path / "evil\nname").write_text("x")
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "MAX_CONTENT", 20 << 20)
    bomb = compressed((b"\0" * 1023 + b"\n") * (64 << 10))
    assert len(bomb) < 10_000
    lines = Bundle.open(write_bundle(tmp_path / "b", extra={"output/x.zst": bomb})).lines("output/x.zst")
    seen: deque[bytes] = deque(maxlen=1)
    with pytest.raises(BundleError, match="holds more than 20 MiB"):
        seen.extend(lines)
    assert seen[0].endswith(b"\0")


def test_one_endless_line_is_refused(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "b", extra={"output/x.zst": compressed(b"\0" * (48 << 20))}))
    with pytest.raises(BundleError, match="longer than 32 MiB"):
        list(bundle.lines("output/x.zst"))


def test_a_window_that_eats_memory_is_refused(tmp_path: Path) -> None:
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(
            window_log=28, enable_ldm=False, write_content_size=False
        )
    ).compressobj()
    data = wide.compress(b"x" * 1000) + wide.flush()
    bundle = Bundle.open(write_bundle(tmp_path / "b", extra={"output/x.zst": data}))
    with pytest.raises(BundleError, match="not readable as zstd"):
        list(bundle.lines("output/x.zst"))


@pytest.mark.parametrize("cut", [1, 5, 50])
def test_a_frame_cut_short_is_not_an_end(tmp_path: Path, cut: int) -> None:
    whole = compressed(os.urandom(4000))
    bundle = Bundle.open(write_bundle(tmp_path / "b", extra={"output/x.zst": whole[:-cut]}))
    with pytest.raises(BundleError, match="ends in the middle"):
        list(bundle.lines("output/x.zst"))


def test_garbage_is_not_zstd(tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "b", extra={"output/x.zst": b"plain text, not zstd"}))
    with pytest.raises(BundleError, match="not readable as zstd"):
        bundle.text("output/x.zst")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "import\n\x1b[31m"}, r"a phase 'import\\n\\x1b\[31m', which is not known"),
        ({"name": "x" * 100_000}, "a phase 'x{40}', which is not known"),
        ({"name": "install"}, "the phase 'install' twice"),
        ({"started": -1.0}, "impossible times or counts for the phase 'import'"),
        ({"ended": 1e308}, "impossible times or counts for the phase 'import'"),
        ({"argv": []}, "a trace and no command for the phase 'import'"),
        ({"survivors": -1}, "impossible times or counts for the phase 'import'"),
        ({"coverage": {"unit": "module", "planned": -1, "reached": 0}}, "impossible times or counts"),
    ],
)
def test_phases_that_no_run_can_have_are_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = write_bundle(tmp_path / "b")
    edit_manifest(path, lambda m: m["phases"][3].update(change))
    with pytest.raises(BundleError, match=told):
        Bundle.open(path)


def test_a_name_that_the_system_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read: File name too long"):
        Bundle.open(tmp_path / ("n" * 300))
