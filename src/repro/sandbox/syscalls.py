"""The filter of system calls that a sandboxed process runs under, as the kernel's classic BPF.

It refuses what would take memory that no other limit counts (System V and anonymous shared memory), what opens
further parts of the kernel (user namespaces, sockets, key rings, tracing, io_uring, BPF) and nothing that a plain
program needs. It is a second wall: the namespaces hold without it, but it alone keeps shared memory bounded.
"""

import errno
import platform
import struct

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435  # this number and those above 400 below are the same on every machine
REFUSED = {  # name: (x86_64, aarch64)
    "socket": (41, 198),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
NAMESPACES = 0x7E020000  # the CLONE_NEW* flags
X32 = 0x40000000  # numbers of the other ABI of x86_64

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000


def seccomp_filter(machine: str = "") -> bytes:
    """The filter for a kind of machine (default: this one), as `bwrap --seccomp` takes it.

    Raises ValueError if the numbers of its system calls are not known here.
    """
    machine = machine or platform.machine()
    if machine not in AUDIT:
        raise ValueError(f"no filter of system calls for {machine} machines; there are some for {', '.join(AUDIT)}")
    column = list(AUDIT).index(machine)
    lines = [_load(ARCHITECTURE), _line(EQUAL, AUDIT[machine], 1, 0), _line(RETURN, KILL)]
    lines += [_load(NUMBER), *_if(AT_LEAST, X32, FAIL | errno.ENOSYS)]
    for numbers in REFUSED.values():
        lines += _if(EQUAL, numbers[column], FAIL | errno.EPERM)
    # clone3 hides its flags behind a pointer; told that there is none, the C library falls back on clone.
    lines += _if(EQUAL, CLONE3, FAIL | errno.ENOSYS)
    namespaces = [_load(FIRST_ARGUMENT), *_if(ANY_BIT, NAMESPACES, FAIL | errno.EPERM)]
    lines += [_line(EQUAL, CLONE[machine], 0, len(namespaces)), *namespaces, _line(RETURN, ALLOW)]
    return b"".join(lines)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _line(LOAD, offset)


def _if(test: int, value: int, verdict: int) -> list[bytes]:
    return [_line(test, value, 0, 1), _line(RETURN, verdict)]
