"""Calls that serve to get at the kernel, to rebuild what is mounted, or to leave a namespace."""

from __future__ import annotations

from tests.escape.attempt import REFUSED, Attempt, Differs

_OWN_KERNEL = "gVisor's own kernel lets it have namespaces of gVisor's: nothing of the machine is in them"
_MACHINE = "machine-wide-call"
_NOT_TRACED = "the call is not traced: it needs a capability that nobody in the pod has"


def _call(name: str, tries: str, number: str, finding: str = "evasive-kernel-call", told: str = "") -> Attempt:
    """One call by its number and arguments, which must be refused and be told of."""
    return Attempt(
        name=name,
        tries=tries,
        code=f"attempt(lambda: syscall({number}))",
        told=told or f"kernel.call call={name.replace('-', '_')} errno=E*",
        finding=finding,
    )


ATTEMPTS = (
    _call("io_uring_setup", "to open and connect by a ring that the tracer does not see", "425, 8, bytes(120)"),
    _call("bpf", "to load a program into the kernel", "321, 5, bytes(120), 120"),
    _call(
        "perf_event_open",
        "to watch other processes by the kernel's counters",
        "298, bytes(128), 0, -1, -1, 0",
        _MACHINE,
    ),
    _call("userfaultfd", "to hold the kernel at a page fault", "323, 0"),
    _call("init_module", "to load a kernel module", "175, 0, 0, b''"),
    _call("finit_module", "to load a kernel module from a file", "313, -1, b'', 0"),
    _call("kexec_load", "to replace the kernel", "246, 0, 1000, 0, 0"),
    _call("keyctl", "to read keys that others have left", "250, 0, -5, 1", _MACHINE),
    _call("add_key", "to leave keys for others", "248, b'user', b'escape', b'x', 1, -3", _MACHINE),
    _call(
        "open_by_handle_at",
        "to open files of the machine by their number",
        "304, -100, bytes(16), 0",
        "container-escape-call",
    ),
    _call(
        "ring-in-use",
        "to submit to a ring that somebody else has made",
        "426, 0, 1, 0, 0, 0, 0",
        told="kernel.call call=io_uring_enter errno=E*",
    ),
    Attempt(
        name="unknown-call",
        tries="a call that is newer than everything we know",
        code="attempt(lambda: syscall(1000), lambda: syscall(600))",
        word="ENOSYS",
        unseen="the kernel has no such call: nothing can be done by it",
    ),
    _call(
        "mount-tmpfs",
        "to mount a file system of its own",
        "165, b'none', b'/tmp', b'tmpfs', 0, 0",
        "container-escape-call",
        "kernel.mount call=mount errno=E*",
    ),
    _call(
        "mount-bind",
        "to give a directory another name",
        "165, b'/', b'/tmp', 0, 4096, 0",
        "container-escape-call",
        "kernel.mount call=mount errno=E*",
    ),
    _call(
        "mount-proc",
        "to have a /proc of its own, with nothing hidden",
        "165, b'proc', b'/tmp', b'proc', 0, 0",
        "container-escape-call",
        "kernel.mount call=mount errno=E*",
    ),
    _call(
        "umount2",
        "to take away what covers a file",
        "166, b'/proc', 2",
        "container-escape-call",
        "kernel.mount call=umount2 errno=E*",
    ),
    _call(
        "pivot_root",
        "to have another root",
        "155, b'/tmp', b'/tmp'",
        "container-escape-call",
        "kernel.mount call=pivot_root errno=E*",
    ),
    _call(
        "fsopen",
        "to mount by the newer calls",
        "430, b'tmpfs', 0",
        "container-escape-call",
        "kernel.mount call=fsopen errno=E*",
    ),
    _call(
        "open_tree",
        "to copy a mount",
        "428, -100, b'/', 1",
        "container-escape-call",
        "kernel.mount call=open_tree errno=E*",
    ),
    _call(
        "mount_setattr",
        "to make a mount writable",
        "442, -100, b'/', 0, bytes(32), 32",
        "container-escape-call",
        "kernel.mount call=mount_setattr errno=E*",
    ),
    Attempt(
        name="chroot-games",
        tries="to walk out of a root that it has changed",
        code="""
def walk():
    root = os.open("/", os.O_RDONLY)
    os.chroot("/tmp")
    os.fchdir(root)
    for _ in range(20):
        os.chdir("..")
    return os.path.exists(TARGETS["canary"])
attempt(walk)
""",
        told="kernel.mount call=chroot errno=E*",
        finding="container-escape-call",
    ),
    Attempt(
        name="new-namespaces",
        tries="namespaces of its own, one of each kind",
        code="attempt(*each(lambda flag: syscall(272, flag), [1 << 17, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30]))",
        told="kernel.namespace call=unshare",
        finding="container-escape-call",
        differs={"runsc": Differs(why=_OWN_KERNEL, word=rf"done 0|{REFUSED}")},
    ),
    Attempt(
        name="new-user-namespace-by-clone",
        tries="to be root of a user namespace of its own, by the older and the newer call",
        code="""
def clone(number, *words):
    pid = syscall(number, *words)
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]
flags = struct.pack("=8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
attempt(lambda: clone(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0), lambda: clone(435, flags, 64))
""",
        told="kernel.call call=clone errno=SIGSYS args=*EUSERS*",
        finding="container-escape-call",
        differs={"runsc": Differs(why=_OWN_KERNEL, word=rf"done 0|{REFUSED}")},
    ),
    Attempt(
        name="enter-namespaces-of-process-1",
        tries="to enter every namespace of process 1 at once",
        code="""
attempt(lambda: syscall(308, -1, 0),
        lambda: syscall(308, os.open("/proc/1/ns/mnt", os.O_RDONLY), 0),
        lambda: syscall(308, os.pidfd_open(1), 0x7C020000))
""",
        told="kernel.namespace call=setns errno=E*",
        finding="container-escape-call",
    ),
    Attempt(
        name="map-users",
        tries="to write which user of the machine it is",
        code="""
def map(name):
    with open(f"/proc/self/{name}", "w", buffering=1) as file:
        file.write("0 0 1\\n")
attempt(*each(map, ["uid_map", "gid_map"]))
""",
        told="file.write path=/proc/self/uid_map",
    ),
    Attempt(
        name="personality",
        tries="a process without random addresses, as exploits like them",
        code="attempt(lambda: syscall(135, 0x0040000))",
        word=rf"done \d+|{REFUSED}",
        told="kernel.call call=personality",
    ),
    Attempt(
        name="host-name-and-clock",
        tries="to change the machine's name and its clock, to forge times of the evidence",
        code="""
attempt(lambda: syscall(170, b"escaped", 7),
        lambda: syscall(171, b"escaped", 7),
        lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
        lambda: syscall(164, struct.pack("=QQ", int(time.time()), 0), 0),
        lambda: syscall(159, struct.pack("=I204x", 0x4000)))
""",
        # Not EINVAL, which is what whoever may do it gets for the last one: a tick of no length.
        word="EPERM|ENOSYS",
        unseen=_NOT_TRACED,
    ),
    Attempt(
        name="kernel-log",
        tries="to read and write the kernel's log",
        code="""
attempt(lambda: syscall(103, 3, ctypes.create_string_buffer(64), 64),
        lambda: os.open("/dev/kmsg", os.O_WRONLY), lambda: os.open("/proc/kmsg", os.O_RDONLY))
""",
        told="file.write path=/dev/kmsg errno=E*",
        differs={"runsc": Differs(why="gVisor tells a made-up log of its own", word=rf"done \d+|{REFUSED}")},
    ),
    Attempt(
        name="swap-quota-accounting",
        tries="to change how the machine keeps its books",
        code="""
attempt(lambda: syscall(167, b"/tmp/no-such-file", 0),
        lambda: syscall(163, b"/tmp/no-such-file"),
        lambda: syscall(153),
        lambda: syscall(173, 0x80, 1, 1),
        lambda: syscall(172, 3))
""",
        unseen=_NOT_TRACED,
    ),
    Attempt(
        name="device-nodes",
        tries="to make the machine's disk and memory in a directory of its own",
        code="""
def make(place):
    path = f"/tmp/escape.{place[0]}.{place[1]}"
    os.mknod(path, 0o600 | place[2], os.makedev(place[0], place[1]))
    return os.open(path, os.O_RDONLY)
attempt(*each(make, [(8, 0, 0o60000), (1, 1, 0o20000), (10, 200, 0o20000)]))
""",
        told="kernel.call call=mknod* errno=E*",
        finding="container-escape-call",
        differs={
            "runsc": Differs(
                why="gVisor lets everybody make nodes, and nobody open them: its kernel has no such devices",
                told="kernel.call call=mknod*",
            )
        },
    ),
    Attempt(
        name="devices",
        tries="to open disks, memory, tunnels and hypervisors",
        code="""
names = ["sda", "vda", "nvme0n1", "mem", "kmem", "port", "kvm", "net/tun", "vhost-vsock", "mapper/control"]
attempt(*each(lambda name: os.open(f"/dev/{name}", os.O_RDWR), names))
""",
        told="file.write path=/dev/mem errno=E*",
    ),
    Attempt(
        name="file-system-of-its-own-making",
        tries="to answer for a file system itself, by FUSE",
        code="""
def make():
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={descriptor},rootmode=40000,user_id=1000,group_id=1000".encode()
    return syscall(165, b"x", b"/tmp", b"fuse", 0, options)
attempt(make)
""",
        told="file.write path=/dev/fuse errno=E*",
        differs={
            "runsc": Differs(
                why="gVisor's own device is there; without a mount it is of no use",
                told="kernel.mount call=mount errno=E*",
                finding="container-escape-call",
            )
        },
    ),
    Attempt(
        name="terminal-input",
        tries="to type into the terminal of whoever started us",
        code="""
import fcntl
def type_in(descriptor):
    fcntl.ioctl(descriptor, 0x5412, b"#")
attempt(lambda: os.open("/dev/tty", os.O_RDWR), *each(type_in, [0, 1, 2]))
""",
        told="kernel.call call=ioctl errno=SIGSYS args=*ENOTTY*",
        finding="evasive-kernel-call",
    ),
    Attempt(
        name="kernel-settings",
        tries="to open the kernel's settings for writing, above all the program that it calls for a core dump",
        code="""
names = ["kernel/core_pattern", "kernel/modprobe", "kernel/hotplug", "vm/overcommit_memory", "fs/binfmt_misc/register"]
attempt(*each(lambda name: os.open(f"/proc/sys/{name}", os.O_WRONLY), names),
        lambda: os.open("/proc/sysrq-trigger", os.O_WRONLY), lambda: os.open("/proc/irq/0/smp_affinity", os.O_WRONLY))
""",
        told="file.write path=/proc/sys/kernel/core_pattern errno=E*",
    ),
    Attempt(
        name="control-groups",
        tries="to name a program that the kernel calls when a control group empties, and to leave its own group",
        code="""
places = ["release_agent", "memory/release_agent", "rdma/release_agent", "cgroup.procs", "pids/tasks", "pids/pids.max"]
attempt(*each(lambda name: os.open(f"/sys/fs/cgroup/{name}", os.O_WRONLY), places),
        lambda: os.makedirs("/sys/fs/cgroup/escape"),
        lambda: syscall(165, b"cgroup", b"/tmp", b"cgroup", 0, b"memory"))
""",
        told="kernel.mount call=mount errno=E*",
        finding="container-escape-call",
    ),
    Attempt(
        name="devices-by-sysfs",
        tries="to drive devices by /sys",
        code="""
names = ["kernel/uevent_helper", "power/state", "kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"]
names += ["class/net/lo/mtu", "module/kernel/parameters/panic", "firmware/efi/vars"]
attempt(*each(lambda name: os.open(f"/sys/{name}", os.O_WRONLY), names))
""",
        told="file.write path=/sys/kernel/uevent_helper errno=E*",
    ),
)
