"""Benign twin: a build that posts its own settings as JSON to a server that it starts itself."""

import http.server
import json
import os
import threading
import urllib.request

from setuptools import setup

HERE = os.path.dirname(os.path.abspath(__file__))


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def act():
    with open(os.path.join(HERE, "sample_install_exfil_https_twin", "settings.json"), encoding="utf-8") as file:
        settings = file.read()
    body = {"file": settings, "key": os.environ.get("SAMPLE_KEY", "")}
    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}/c",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
setup()
