"""The system calls that events come from, as auditd writes them: by name, or by their number on x86_64."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLE: Final = """
open=2 connect=42 accept=43 bind=49 listen=50 clone=56 execve=59 kill=62 truncate=76 rename=82 rmdir=84 creat=85
link=86 unlink=87 symlink=88 chmod=90 fchmod=91 chown=92 fchown=93 lchown=94 ptrace=101 syslog=103 setuid=105
setgid=106 setreuid=113 setregid=114 setgroups=116 setresuid=117 setresgid=119 setfsuid=122 setfsgid=123
capset=126 rt_sigqueueinfo=129 mknod=133 uselib=134 personality=135 vhangup=153 modify_ldt=154 pivot_root=155
_sysctl=156 chroot=161 acct=163 settimeofday=164 mount=165 umount2=166 swapon=167 swapoff=168 reboot=169
iopl=172 ioperm=173 create_module=174 init_module=175 delete_module=176 get_kernel_syms=177 query_module=178
quotactl=179 nfsservctl=180 tkill=200 lookup_dcookie=212 clock_settime=227 tgkill=234 kexec_load=246 add_key=248
request_key=249 keyctl=250 openat=257 mknodat=259 fchownat=260 unlinkat=263 renameat=264 linkat=265
symlinkat=266 fchmodat=268 unshare=272 accept4=288 rt_tgsigqueueinfo=297 perf_event_open=298
open_by_handle_at=304 setns=308 process_vm_readv=310 process_vm_writev=311 kcmp=312 finit_module=313
renameat2=316 memfd_create=319 kexec_file_load=320 bpf=321 execveat=322 userfaultfd=323 pidfd_send_signal=424
io_uring_setup=425 io_uring_enter=426 io_uring_register=427 open_tree=428 move_mount=429 fsopen=430 fsconfig=431
fsmount=432 fspick=433 clone3=435 openat2=437 pidfd_getfd=438 mount_setattr=442 quotactl_fd=443
"""
NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {name: int(number) for name, _, number in (entry.partition("=") for entry in _TABLE.split())}
)
"""Number by name. A call that is not here leads to no event, or none that auditd's records are answered from."""
NAMES: Final[Mapping[str, str]] = MappingProxyType({str(number): name for name, number in NUMBERS.items()})
"""Name by number, the number as text."""
