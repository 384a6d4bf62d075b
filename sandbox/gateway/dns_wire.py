"""The little of the DNS wire format that a catch-all name server needs; robust to garbage."""

from __future__ import annotations

import ipaddress
import struct

import msgspec

NOERROR, FORMERR, NXDOMAIN, NOTIMP = 0, 1, 3, 4
RCODES = {NOERROR: "NOERROR", FORMERR: "FORMERR", NXDOMAIN: "NXDOMAIN", NOTIMP: "NOTIMP"}
TYPE_A, TYPE_PTR = 1, 12
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR"}
_TYPES |= {43: "DS", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 252: "AXFR", 255: "ANY", 257: "CAA"}
_HEADER = struct.Struct("!6H")
_MAX_QUESTIONS = 8
_MAX_LABEL, _MAX_NAME, _MAX_JUMPS = 63, 255, 16
_POINTER = 0xC0
_TTL = 60
_QR, _OPCODE, _RD, _RA = 0x8000, 0x7800, 0x0100, 0x0080
_CLASS_IN = 1
_PRINTABLE = range(0x21, 0x7F)


class Question(msgspec.Struct, frozen=True):
    """One question of a query."""

    name: str
    """Lower case, without the final dot; bytes outside printable ASCII (and a dot inside a label) as `\\xNN`."""
    sent: str
    """The same with its capitals."""
    qtype: int
    qclass: int
    labels: tuple[bytes, ...]


class Query(msgspec.Struct, frozen=True):
    """A DNS query."""

    ident: int
    flags: int
    questions: tuple[Question, ...]

    @property
    def opcode(self) -> int:
        """The kind of query; 0 is the standard one."""
        return (self.flags & _OPCODE) >> 11


class Answer(msgspec.Struct, frozen=True):
    """A made-up resource record for the question at `question`; `value` is an address or a name."""

    question: int
    value: str


def type_name(qtype: int) -> str:
    """Return `A`, `TXT`, ... or `TYPE65`."""
    return _TYPES.get(qtype, f"TYPE{qtype}")


def parse_query(data: bytes) -> Query:
    """Parse a query; additional records (EDNS0) are not looked at.

    Raises:
        ValueError: It is not a DNS query.
    """
    if len(data) < _HEADER.size:
        raise ValueError("shorter than a DNS header")
    ident, flags, count, *_ = _HEADER.unpack_from(data)
    if flags & _QR or not 0 < count <= _MAX_QUESTIONS:
        raise ValueError("not a DNS query")
    questions, at = [], _HEADER.size
    for _ in range(count):
        labels, at = _labels(data, at)
        if len(data) < at + 4:
            raise ValueError("the question ends early")
        qtype, qclass = struct.unpack_from("!2H", data, at)
        at += 4
        sent = ".".join(map(_label_text, labels))
        name = ".".join(_label_text(label.lower()) for label in labels)
        questions.append(Question(name, sent, qtype, qclass, labels))
    return Query(ident, flags, tuple(questions))


def build_reply(query: Query, rcode: int, answers: tuple[Answer, ...]) -> bytes:
    """Write the reply to a query."""
    flags = _QR | (query.flags & (_OPCODE | _RD)) | _RA | rcode
    out = bytearray(_HEADER.pack(query.ident, flags, len(query.questions), len(answers), 0, 0))
    for question in query.questions:
        out += _wire(question.labels) + struct.pack("!2H", question.qtype, question.qclass)
    for answer in answers:
        question = query.questions[answer.question]
        data = _data(question.qtype, answer.value)
        out += _wire(question.labels) + struct.pack("!2HIH", question.qtype, _CLASS_IN, _TTL, len(data)) + data
    return bytes(out)


def build_error(data: bytes, rcode: int) -> bytes:
    """Write a reply without question to something that is hardly a query (at least two bytes)."""
    ident = int.from_bytes(data[:2], "big")
    return _HEADER.pack(ident, _QR | _RA | rcode, 0, 0, 0, 0)


def _labels(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """Read a name; returns its labels and where it ends."""
    labels: list[bytes] = []
    end, jumps, total = 0, 0, 0
    while True:
        if at >= len(data):
            raise ValueError("the name ends early")
        length = data[at]
        if length & _POINTER == _POINTER:
            if at + 1 >= len(data) or jumps >= _MAX_JUMPS:
                raise ValueError("a bad pointer in the name")
            end, jumps = end or at + 2, jumps + 1
            at = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            continue
        if length > _MAX_LABEL:
            raise ValueError("an unknown kind of label")
        at += 1
        if length == 0:
            return tuple(labels), end or at
        label = data[at : at + length]
        total += length + 1
        if len(label) != length or total > _MAX_NAME:
            raise ValueError("the name ends early or is too long")
        labels.append(label)
        at += length


def _label_text(label: bytes) -> str:
    return "".join(chr(byte) if byte in _PRINTABLE and byte not in b".\\" else f"\\x{byte:02x}" for byte in label)


def _wire(labels: tuple[bytes, ...]) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _data(qtype: int, value: str) -> bytes:
    if qtype == TYPE_A:
        return ipaddress.IPv4Address(value).packed
    return _wire(tuple(label[:_MAX_LABEL].encode("ascii", "replace") for label in value.split(".") if label))
