"""Benign twin: an import that writes an example of a service among its own settings."""

import os

UNIT = """[Unit]
Description=inert sample

[Service]
ExecStart=/bin/true

[Install]
WantedBy=default.target
"""


def act():
    directory = os.path.expanduser("~/.config/sample_systemd_unit_twin")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "example.service"), "w", encoding="utf-8") as file:
        file.write(UNIT)


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
