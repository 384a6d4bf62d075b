"""Seals a network namespace: every address is local, every connection meets the gateway. One meaning, for all pods."""

from __future__ import annotations

import subprocess
from pathlib import Path

TCP_PORT, DNS_PORT = 61001, 61053
"""Where the gateway listens inside the pod."""

RULES = """
table inet pod {{
  chain dialled {{
    type nat hook output priority -100;
    udp dport 53 redirect to :{dns}
    tcp dport 53 redirect to :{dns}
    ip daddr 127.0.0.0/8 return
    ip6 daddr ::1 return
    meta l4proto tcp redirect to :{tcp}
  }}
  chain unanswered {{
    type filter hook output priority 0;
    icmp type destination-unreachable drop
    icmpv6 type destination-unreachable drop
  }}
}}
"""


def seal(ip: str, nft: str, tcp_port: int, dns_port: int) -> None:
    """Seal the network namespace of this process. Needs CAP_NET_ADMIN in it.

    Args:
        ip: Path of iproute2's `ip`.
        nft: Path of `nft`.
        tcp_port: Where all TCP is redirected to.
        dns_port: Where all DNS is redirected to, UDP and TCP.

    Raises:
        subprocess.CalledProcessError: A program refuses; its standard error says why.
    """
    batch = "link set lo up\nroute add local 0.0.0.0/0 dev lo\n"
    subprocess.run([ip, "-batch", "-"], input=batch, text=True, check=True, capture_output=True)
    # A kernel without IPv6 has no such route to add, and nothing to leak by it either.
    if Path("/proc/net/if_inet6").exists():
        six = [ip, "-6", "route", "add", "local", "::/0", "dev", "lo"]
        subprocess.run(six, check=True, capture_output=True, text=True)
    rules = RULES.format(dns=dns_port, tcp=tcp_port)
    subprocess.run([nft, "-f", "-"], input=rules, text=True, check=True, capture_output=True)
