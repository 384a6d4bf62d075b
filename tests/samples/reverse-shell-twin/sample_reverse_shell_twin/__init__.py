"""Benign twin: an import that talks to a shell of its own over a local socket pair and over pipes."""

import os
import socket
import subprocess


def act():
    near, far = socket.socketpair()
    with near, far:
        subprocess.run(["/bin/sh", "-c", "echo ready"], stdin=far, stdout=far, timeout=10, check=True)
        far.shutdown(socket.SHUT_WR)
        near.recv(64)
    return subprocess.run(["/bin/sh", "-c", "echo ready"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=True)


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
