"""Benign twin: an import that adds a line to a file in its own cache directory."""

import os


def act():
    directory = os.path.expanduser("~/.cache/sample_persistence_bashrc_twin")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "bashrc"), "a", encoding="utf-8") as file:
        file.write("\n# added by sample_persistence_bashrc_twin\n")


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
