"""Benign twin: an import that looks ordinary names up and cuts a public text into pieces, which stay here."""

import os
import socket


def act():
    text = b"the quick brown fox jumps over the lazy dog".hex()
    pieces = [text[start : start + 32] for start in range(0, len(text), 32)]
    for name in ("localhost", "docs.twin.example"):
        try:
            socket.getaddrinfo(name, 443)
        except OSError:
            pass
    return pieces


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
