"""Inert sample: an import that writes a user service whose program does nothing."""

import os

UNIT = """[Unit]
Description=inert sample

[Service]
ExecStart=/bin/true

[Install]
WantedBy=default.target
"""


def act():
    directory = os.path.expanduser("~/.config/systemd/user")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "sample_systemd_unit.service"), "w", encoding="utf-8") as file:
        file.write(UNIT)


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
