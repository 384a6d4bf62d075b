"""Benign twin: a build that asks for host, user and machine type for its log, and tells nobody."""

import os
import subprocess
import tempfile
import urllib.parse

from setuptools import setup


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()


def act():
    facts = {"hostname": output("hostname"), "user": output("whoami"), "machine": output("uname", "-m"), "cwd": os.getcwd()}
    with tempfile.TemporaryFile("w") as log:
        log.write(urllib.parse.urlencode(facts))


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
setup()
