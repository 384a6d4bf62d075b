"""Just enough of protocols in which the server talks too, so that a client goes on to what it came to send."""

from __future__ import annotations

from abc import ABC, abstractmethod

_MAX_LINE = 8192
_MAIL_PORTS = frozenset({25, 465, 587, 2525})
_FTP_PORTS = frozenset({21, 990})
_MAIL_REPLIES = {
    "EHLO": b"250-mail\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
    "HELO": b"250 mail\r\n",
    "STARTTLS": b"220 ready\r\n",
    "QUIT": b"221 bye\r\n",
}
_FTP_REPLIES = {
    "USER": b"331 password\r\n",
    "PASS": b"230 welcome\r\n",
    "PWD": b'257 "/"\r\n',
    "TYPE": b"200 ok\r\n",
    "EPSV": b"229 ok (|||50021|)\r\n",
    # Any address will do: all of them are answered here.
    "PASV": b"227 ok (198,51,100,21,195,101)\r\n",
    # The transfer is on another connection; its end is announced at once.
    "STOR": b"150 go\r\n226 done\r\n",
    "APPE": b"150 go\r\n226 done\r\n",
    "LIST": b"150 go\r\n226 done\r\n",
    "NLST": b"150 go\r\n226 done\r\n",
    "RETR": b"550 no such file\r\n",
    "AUTH": b"502 no\r\n",
    "FEAT": b"211 no features\r\n",
    "SYST": b"215 UNIX Type: L8\r\n",
    "QUIT": b"221 bye\r\n",
}


class Dialogue(ABC):
    """Answers a client line by line; the base class cuts the lines."""

    def __init__(self) -> None:
        self._rest = b""
        self.secured = False
        """The client asked for TLS and was told to begin."""

    def reply(self, data: bytes) -> bytes:
        """Take what came and return what to say to it, maybe nothing."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_MAX_LINE:]
        return b"".join(self._reply(line.rstrip(b"\r").decode("latin-1")) for line in lines)

    @abstractmethod
    def _reply(self, line: str) -> bytes: ...


class Mail(Dialogue):
    """SMTP: accepts every login and every message."""

    def __init__(self) -> None:
        super().__init__()
        self._in_message = False
        self._prompts: list[bytes] = []

    def _reply(self, line: str) -> bytes:
        if self._in_message:
            self._in_message = line != "."
            return b"" if self._in_message else b"250 queued\r\n"
        if self._prompts:
            return self._prompts.pop(0)
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if verb == "DATA":
            self._in_message = True
            return b"354 go ahead\r\n"
        if verb == "AUTH":
            return self._authenticate(rest.split())
        self.secured = verb == "STARTTLS"
        return _MAIL_REPLIES.get(verb, b"250 ok\r\n")

    def _authenticate(self, words: list[str]) -> bytes:
        accepted = b"235 accepted\r\n"
        method, initial = words[:1], words[1:]
        if [word.upper() for word in method] == ["LOGIN"]:
            # "Username:" and "Password:" in base64.
            ask_password = b"334 UGFzc3dvcmQ6\r\n"
            self._prompts = [accepted] if initial else [ask_password, accepted]
            return ask_password if initial else b"334 VXNlcm5hbWU6\r\n"
        if initial:
            return accepted
        self._prompts = [accepted]
        return b"334 \r\n"


class Files(Dialogue):
    """FTP: accepts every login and every upload."""

    def _reply(self, line: str) -> bytes:
        return _FTP_REPLIES.get(line.partition(" ")[0].upper(), b"200 ok\r\n")


class Nothing(Dialogue):
    """For all other ports: listens only."""

    def _reply(self, line: str) -> bytes:  # noqa: ARG002 - the interface
        return b""


def dialogue_for(port: int) -> Dialogue:
    """Choose by the dialled port."""
    if port in _MAIL_PORTS:
        return Mail()
    return Files() if port in _FTP_PORTS else Nothing()
