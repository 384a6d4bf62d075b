"""What emulations and their benign twins share: short words for reading, writing, running and talking.

It goes into each package. It does nothing by itself, never waits long and never fails: an emulation is about the
attempt. Hosts are of reserved names and documentation addresses only; nothing leaves a pod anyway.
"""

import contextlib
import ctypes
import os
import select
import socket
import ssl
import subprocess
import threading
import urllib.request

HOME = os.path.expanduser("~")
SECONDS = 60.0


def read(path):
    """Read a file; a path that is not absolute is below the home directory."""
    with contextlib.suppress(OSError), open(os.path.join(HOME, path), "rb") as file:
        return file.read(65536)
    return b""


def write(path, text=""):
    """Write a file, with the directories that lead to it."""
    path = os.path.join(HOME, path)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return path


def run(*argv, **options):
    """Run a program without a terminal; it may be missing, and it may take too long."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(argv, check=False, timeout=SECONDS, **{**quiet, **options})


def shell(command):
    """Run a line of shell."""
    run("/bin/sh", "-c", command)


def request(url, body=None, **headers):
    """Make an HTTP request and give the answer's body; POST when there is a body."""
    data = body.encode() if isinstance(body, str) else body
    wanted = urllib.request.Request(url, data=data, headers=headers)
    with contextlib.suppress(OSError), urllib.request.urlopen(wanted, timeout=SECONDS) as answer:
        return answer.read(65536)
    return b""


def look_up(name):
    """Resolve a name."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo(name, 443)


def dial(address, port, data=b""):
    """Connect by TCP and send something."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=SECONDS) as connection:
        connection.sendall(data)


def greet(address, name):
    """Begin a TLS handshake that asks for a server name."""
    context = ssl.create_default_context()
    with contextlib.suppress(OSError), socket.create_connection((address, 443), timeout=SECONDS) as plain:
        with context.wrap_socket(plain, server_hostname=name):
            pass


def apart(act):
    """Do something in a process of its own and wait for it."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            act()
        os._exit(0)
    os.waitpid(pid, 0)


def append(path, text=""):
    """Add to a file, or begin it, as `write` does."""
    path = os.path.join(HOME, path)
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    return path


@contextlib.contextmanager
def own_server():
    """A server of one's own on the loopback that answers anything; gives its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


def call(number, *arguments):
    """Make a system call by its number (x86-64); what it gives does not matter."""
    ctypes.CDLL(None, use_errno=True).syscall(number, *arguments)
