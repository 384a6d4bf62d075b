from __future__ import annotations

import base64
import binascii
import configparser
import json
import netrc
import random
import re
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from mnemonic import Mnemonic

from collector.bait import BaitScanner
from sandbox.bait import KINDS, plant
from sandbox.profile import load_profile

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.bait import Planted

FORMS = {
    "anthropic-key": r"sk-ant-api03-[\w-]{93}AA",
    "aws-access-key-id": r"AKIA[A-Z2-7]{16}",
    "aws-secret-access-key": r"[A-Za-z0-9/+]{40}",
    "aws-session-key-id": r"ASIA[A-Z2-7]{16}",
    "aws-session-token": r"IQoJ[A-Za-z0-9/+=]{500,}",
    "browser-logins": r"[A-Za-z0-9]{20}",
    "ci-token": r"glcbt-[A-Za-z0-9]{26}",
    "docker-auth": r"[A-Za-z0-9+/]+={0,2}",
    "gcp-service-account": r"[A-Za-z0-9+/]{64}",
    "github-token": r"ghp_[A-Za-z0-9]{36}",
    "gitlab-token": r"glpat-[\w-]{20}",
    "google-access-token": r"ya29\.c\.[A-Za-z0-9_-]{180}",
    "google-refresh-token": r"1//0[A-Za-z0-9_-]{99}",
    "hex-key": r"[0-9a-f]{64}",
    "huggingface-token": r"hf_[A-Za-z]{34}",
    "kube-token": r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{342}",
    "npm-token": r"npm_[A-Za-z0-9]{36}",
    "openai-key": r"sk-proj-[A-Za-z0-9]{74}T3BlbkFJ[A-Za-z0-9]{74}",
    "password": r"[A-Za-z0-9]{24}",
    "pypi-token": r"pypi-AgEI[A-Za-z0-9_-]{100,}",
    "slack-token": r"xoxb-\d{12}-\d{13}-[A-Za-z0-9]{24}",
    "solana-key": r"\d{1,3}(,\d{1,3}){63}",
    "ssh-ed25519": r"[A-Za-z0-9+/]{70}",
    "stripe-key": r"sk_live_51[A-Za-z0-9]{97}",
    "wallet-phrase": r"([a-z]{3,8} ){11}[a-z]{3,8}",
}


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(load_profile("pypi"))


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same bait twice is what the tests want


def texts(planted: Planted) -> dict[str, str]:
    return {path: content.decode() for path, content in planted.files.items() if not path.endswith("Login Data")}


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_every_kind_has_its_form_and_is_never_the_same_twice() -> None:
    assert FORMS.keys() == KINDS.keys()
    rng = random.SystemRandom()
    for kind, form in FORMS.items():
        values = {KINDS[kind](rng).value for _ in range(5)}
        assert len(values) == 5
        for value in values:
            assert re.fullmatch(form, value), (kind, value)
            assert len(value) >= 16


@pytest.mark.parametrize("kind", ["github-token", "npm-token"])
def test_the_checksum_of_a_token_is_right(kind: str) -> None:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for seed in range(20):
        token = KINDS[kind](seeded(seed)).value
        body, digits = token[4:34], token[34:]
        number = 0
        for digit in digits:
            number = number * 62 + alphabet.index(digit)
        assert number == binascii.crc32(body.encode())


def test_a_pypi_token_is_a_macaroon_that_names_no_host() -> None:
    data = unpadded(KINDS["pypi-token"](random.SystemRandom()).value.removeprefix("pypi-"))
    assert data[0] == 2
    fields, position = [], 1
    while position < len(data):
        tag = data[position]
        if tag == 0:
            position += 1
            continue
        length = data[position + 1]
        fields.append((tag, data[position + 2 : position + 2 + length]))
        position += 2 + length
    assert [tag for tag, _ in fields] == [1, 2, 2, 6]
    identifier = fields[1][1].decode()
    assert json.loads(fields[2][1]) == [3, identifier]
    assert len(fields[3][1]) == 32


def test_the_ssh_key_works_and_its_telling_line_is_in_the_file() -> None:
    secret = KINDS["ssh-ed25519"](random.SystemRandom())
    key = load_ssh_private_key(secret.text.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    assert key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() == secret.parts["public"]
    assert secret.value in secret.text.splitlines()
    # The line holds the private seed itself, so nothing but the key can contain it.
    body = "".join(secret.text.splitlines()[1:-1])
    start = body.index(secret.value) * 6 // 8
    seed = key.private_bytes_raw()
    assert start <= base64.b64decode(body).index(seed)
    assert base64.b64decode(body).index(seed) + len(seed) <= start + 70 * 6 // 8


def test_a_solana_key_is_a_key_pair_in_both_forms() -> None:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    secret = KINDS["solana-key"](random.SystemRandom())
    pair = bytes(int(number) for number in secret.value.split(","))
    assert Ed25519PrivateKey.from_private_bytes(pair[:32]).public_key().public_bytes_raw() == pair[32:]
    number = 0
    for digit in secret.also["base58"]:
        number = number * 58 + alphabet.index(digit)
    assert number.to_bytes(64, "big") == pair


def test_a_service_account_has_a_key_that_works_and_whose_telling_line_is_of_its_secret_part() -> None:
    secret = KINDS["gcp-service-account"](random.SystemRandom())
    account = json.loads(secret.text)
    assert account["type"] == "service_account"
    assert account["private_key_id"] == secret.also["id"]
    key = load_pem_private_key(account["private_key"].encode(), None)
    assert isinstance(key, RSAPrivateKey)
    assert key.key_size == 2048
    assert secret.value in account["private_key"].splitlines()
    exponent = key.private_numbers().d.to_bytes(256, "big")
    # What of the line is whole bytes, whatever stands before it.
    assert base64.b64decode(secret.value)[1:-1] in exponent


def test_a_wallet_phrase_is_words_with_a_checksum() -> None:
    secret = KINDS["wallet-phrase"](seeded(1))
    words = Mnemonic("english")
    assert words.check(secret.value)
    assert secret.value != KINDS["wallet-phrase"](seeded(2)).value


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("{phrase}", "dotenv-wallet-phrase/plain"),
        ("m={plus}", "dotenv-wallet-phrase/url"),
        ("{lines}", "dotenv-wallet-phrase.lines/plain"),
        ('{{"words": {array}}}', "dotenv-wallet-phrase.list/plain"),
    ],
)
def test_a_wallet_phrase_is_found_however_its_words_are_written(planted: Planted, written: str, label: str) -> None:
    phrase = next(bait.value for bait in planted.baits if bait.name == "dotenv-wallet-phrase")
    words = phrase.split()
    text = written.format(phrase=phrase, plus=quote_plus(phrase), lines="\n".join(words), array=json.dumps(words))
    assert label in BaitScanner(planted.baits).scan(b"", text.encode())


def test_a_service_account_is_found_in_the_file_as_it_is_and_in_its_key(planted: Planted) -> None:
    content = planted.files[".config/gcloud/orders-deploy.json"]
    scanner = BaitScanner(planted.baits)
    both = {"gcloud-service-account/plain", "gcloud-service-account.id/plain"}
    assert both <= set(scanner.scan(b"", content))
    key = json.loads(content)["private_key"]
    for sent in (key, json.dumps({"k": key}), key.replace("\n", ""), base64.b64encode(key.encode()).decode()):
        assert any(hit.startswith("gcloud-service-account/") for hit in scanner.scan(b"", sent.encode())), sent


def test_every_bait_lies_where_it_says(planted: Planted) -> None:
    assert len(planted.baits) > 25
    assert len({bait.name for bait in planted.baits}) == len(planted.baits)
    assert len({bait.value for bait in planted.baits}) == len(planted.baits)
    for bait in planted.baits:
        if bait.where.startswith("env:"):
            assert bait.value in planted.environment[bait.where.removeprefix("env:")]
        elif bait.where == "http:":
            assert bait.value in planted.metadata["credentials"] + planted.metadata["token"]
        elif "." not in bait.name:
            assert bait.value.encode() in planted.files[bait.where.removeprefix("/home/martin/")]


def test_no_template_is_left_unfilled(planted: Planted) -> None:
    for text in [*texts(planted).values(), *planted.environment.values(), *planted.metadata.values(), planted.host]:
        assert "{{" not in text
        assert "{hex" not in text
    assert re.fullmatch(r"ws-[0-9a-f]{4}", planted.host)


def test_two_runs_share_no_secret_and_the_same_source_gives_the_same() -> None:
    profile = load_profile("pypi")
    first, second = plant(profile), plant(profile)
    assert not {bait.value for bait in first.baits} & {bait.value for bait in second.baits}
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    once, again = (
        [bait for bait in plant(profile, seeded(7), now).baits if bait.name != "gcloud-service-account"]
        for _ in range(2)
    )
    assert once == again


def test_files_parse_as_what_they_pretend_to_be(planted: Planted, tmp_path: Path) -> None:
    files = texts(planted)
    for path in (".aws/credentials", ".aws/config", ".pypirc"):
        configparser.RawConfigParser().read_string(files[path])
    for path in (
        ".docker/config.json",
        ".config/gcloud/application_default_credentials.json",
        ".config/gcloud/orders-deploy.json",
        ".config/solana/id.json",
    ):
        json.loads(files[path])
    for path in (".kube/config", ".config/gh/hosts.yml", ".config/glab-cli/config.yml"):
        assert isinstance(yaml.safe_load(files[path]), dict)
    assert planted.environment["GOOGLE_APPLICATION_CREDENTIALS"] == "/home/martin/.config/gcloud/orders-deploy.json"
    (tmp_path / "netrc").write_text(files[".netrc"])
    assert list(netrc.netrc(str(tmp_path / "netrc")).hosts) == ["git.example"]
    user, _, password = base64.b64decode(
        json.loads(files[".docker/config.json"])["auths"].popitem()[1]["auth"]
    ).partition(b":")
    assert user == b"deploy"
    assert password.decode() in {bait.value for bait in planted.baits}


def test_the_browser_store_is_a_database_with_the_password(planted: Planted, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.write_bytes(planted.files[".config/google-chrome/Default/Login Data"])
    database = sqlite3.connect(store)
    try:
        [(password,)] = database.execute("SELECT password_value FROM logins").fetchall()
    finally:
        database.close()
    assert password.decode() == next(bait.value for bait in planted.baits if bait.name == "browser-password")


def test_the_metadata_service_gives_credentials_that_are_still_valid() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    metadata = plant(load_profile("pypi"), now=now).metadata
    assert metadata["role"] == "orders-deploy"
    assert metadata["token"].startswith("ya29.")
    credentials = json.loads(metadata["credentials"])
    assert credentials["Code"] == "Success"
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert credentials["LastUpdated"] == "2026-01-02T03:04:05Z"
    assert credentials["Expiration"] == "2026-01-02T09:04:05Z"


def test_secret_files_are_private_and_others_are_not(planted: Planted) -> None:
    assert {".ssh/id_ed25519", ".aws/credentials", ".netrc", ".bash_history"} <= planted.private
    assert not {".bashrc", ".ssh/id_ed25519.pub", "Documents/notes.txt"} & planted.private
    assert planted.private <= planted.files.keys()


def test_nothing_planted_changes_what_pip_does(planted: Planted) -> None:
    assert not [name for name in planted.environment if name.startswith(("PIP_", "PYTHON"))]
    assert not [path for path in planted.files if "pip" in path.replace(".pypirc", "")]
    # A host that pip could be configured with would get our netrc's password: every host is a reserved one.
    for path, text in texts(planted).items():
        for host in re.findall(r"(?:https?://|machine |@)(?:[^\s/@]*@)?([a-z0-9.-]+\.[a-z]+)", text):
            assert host.endswith(".example"), (path, host)
