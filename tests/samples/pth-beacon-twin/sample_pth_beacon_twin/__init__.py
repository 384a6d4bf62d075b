"""Benign twin: every start of the interpreter loads the same standard modules and reads the package's own file."""

import os


def act():
    import urllib.request

    with urllib.request.urlopen("file://" + os.path.join(os.path.dirname(__file__), "greeting.txt")) as file:
        return file.read()


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
