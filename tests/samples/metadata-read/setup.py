"""Inert sample: a build that asks the pod's own metadata service for the credentials of its role."""

import os
import urllib.request

from setuptools import setup

BASE = "http://169.254.169.254"


def ask(method, path, headers):
    request = urllib.request.Request(BASE + path, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode().strip()


def act():
    token = ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    headers = {"X-aws-ec2-metadata-token": token}
    role = ask("GET", "/latest/meta-data/iam/security-credentials/", headers)
    ask("GET", f"/latest/meta-data/iam/security-credentials/{role}", headers)


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    try:
        act()
    except OSError:
        pass
setup()
