"""Benign twin: a build that asks the same questions of a test server that it starts itself."""

import http.server
import os
import threading
import urllib.request

from setuptools import setup


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"test-role"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET

    def log_message(self, *_):
        pass


def ask(base, method, path, headers):
    request = urllib.request.Request(base + path, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode().strip()


def act():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        token = ask(base, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        headers = {"X-aws-ec2-metadata-token": token}
        role = ask(base, "GET", "/latest/meta-data/iam/security-credentials/", headers)
        ask(base, "GET", f"/latest/meta-data/iam/security-credentials/{role}", headers)
        server.shutdown()


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
setup()
