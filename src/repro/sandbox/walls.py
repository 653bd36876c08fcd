"""One process between walls: bubblewrap's command line, the process, and its certain end.

Walled off: the network, every other process (own process tree, no /proc), the environment, the file system (visible are
the system's libraries, /usr/lib whole, and the interpreter with its own, without third-party packages, all read-only;
only an initially empty /tmp can be written), System V and POSIX queues, and the system calls of `REFUSED`. Bounded, for
each process: address space, CPU seconds, the size of a file, open files, and how many processes its user has. A check
has two such trees, the program's and the judge's, so its memory stays below `(processes + 1) * memory_mib + 2 *
file_mib` MiB and what the kernel keeps for it; the number of empty files in /tmp is bounded by time alone.

The kernel does not limit how many processes the real root has, in any user namespace. So for root a first bubblewrap
only binds the interpreter's files where any user may read them, `setpriv` changes to a user id that nobody has, and the
second, real one starts as for everyone else.

Everything ends with the check, and with the process that asked for it: the kernel kills bubblewrap's first process with
its parent, and the rest of the tree with it.
"""

import csv
import errno
import json
import math
import os
import platform
import secrets
import select
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435  # this number and those above 400 in the file are the same on every machine
with Path(__file__).with_name("refused.csv").open(encoding="utf-8") as rows:
    REFUSED = list(csv.DictReader(rows))  # system calls, with the number that each kind of machine has for one
NAMESPACES = 0x7E020000  # the CLONE_NEW* flags
X32 = 0x40000000  # numbers of the other ABI of x86_64

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
NOBODY = 65534
USERS = range(2_000_000_000, 2_001_000_000)  # no distribution gives these out
LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
OPEN_FILES = 64
# The hash seed keeps sets of strings in the same order each time; the others keep numpy to one thread, all it may have.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def seccomp_filter(machine: str = "") -> bytes:
    """The filter of system calls for a kind of machine (default: this one), as classic BPF for `bwrap --seccomp`.

    It refuses what would take memory that no other limit counts (System V and anonymous shared memory), what opens
    further parts of the kernel (user namespaces, sockets, key rings, tracing, io_uring, BPF) and nothing that a plain
    program needs. It is a second wall: the namespaces hold without it, but it alone keeps shared memory bounded. Raises
    ValueError if the numbers of the machine's system calls are not known here.
    """
    machine = machine or platform.machine()
    if machine not in AUDIT:
        raise ValueError(f"no filter of system calls for {machine} machines; there are some for {', '.join(AUDIT)}")
    lines = [_load(ARCHITECTURE), _line(EQUAL, AUDIT[machine], 1, 0), _line(RETURN, KILL)]
    lines += [_load(NUMBER), *_if(AT_LEAST, X32, FAIL | errno.ENOSYS)]
    for call in REFUSED:
        lines += _if(EQUAL, int(call[machine]), FAIL | errno.EPERM)
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


class SandboxBroken(RuntimeError):
    """The sandbox did not start, so nothing is known of the program."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use; ValueError if a limit is not positive. What it prints is discarded.

    seconds: wall time of loading the program and running the whole test, without starting the sandbox. memory_mib:
    address space of each process, MiB; processes: processes and threads at once, the program itself included; file_mib:
    the size of a file, and of all of /tmp, MiB; output_kib: the size of one answer, KiB.
    """

    seconds: float = 3.0
    memory_mib: int = 512
    processes: int = 1
    file_mib: int = 8
    output_kib: int = 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be positive and finite, not {value}")

    def resources(self) -> dict[str, int]:
        """The limits as the kernel's resource limits (`RLIMIT_...`)."""
        return {
            "AS": self.memory_mib << 20,
            "CPU": math.ceil(self.seconds) + 1,
            "FSIZE": self.file_mib << 20,
            "NPROC": self.processes + 1,  # the first process of a tree is bubblewrap's own
            "NOFILE": OPEN_FILES,
            "CORE": 0,
            "MSGQUEUE": 0,
        }


@cache
def interpreter() -> tuple[Path, tuple[Path, ...], tuple[Path, ...]]:
    """The interpreter outside any virtual environment, the paths it needs to see, and the folders to hide in them."""
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    prefix = Path(sys.base_prefix).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    wanted = [Path(name) for name in LIBRARIES] + [prefix / "lib", prefix / "lib64", library, python]
    present = [path for path in wanted if path.exists() and not path.is_symlink()]
    seen = tuple(dict.fromkeys(path for path in present if not any(other in path.parents for other in present)))
    folders = [folder for name in ("site", "dist") for folder in _third_party(library, f"{name}-packages")]
    hidden = tuple(folder for folder in dict.fromkeys(folders) if any(path in folder.parents for path in seen))
    return python, seen, hidden


def _third_party(library: Path, name: str) -> Iterator[Path]:
    roots = [library, library.parent / "python3", Path("/usr/lib/python3"), Path("/usr/lib") / library.name]
    return (root / name for root in roots if (root / name).is_dir() and not (root / name).is_symlink())


def walled(command: list[str], extra: Mapping[str, Path], limits: Limits, info: int, calls: int) -> list[str]:
    """The command line that runs `command` inside; `extra`: more to mount, by the path inside. bubblewrap describes
    itself on the descriptor `info` and reads its filter from `calls`. Raises SandboxBroken if a tool is not installed,
    or root cannot become another user.
    """
    _, seen, _ = interpreter()
    visible = {str(path): path for path in seen} | dict(extra)
    if not real_root():
        return [_tool("bwrap"), "--info-fd", str(info), *_walls(visible, limits, calls), "--", *command]
    relayed = {place: Path(f"/tmp/{number}") for number, place in enumerate(visible)}
    user = str(_nobodys_id())
    return [
        *(_tool("bwrap"), "--info-fd", str(info), "--die-with-parent", "--unshare-pid"),
        *("--dev-bind", "/", "/", "--tmpfs", "/tmp"),
        *(word for place, path in visible.items() for word in ("--ro-bind", str(path), str(relayed[place]))),
        *("--", _tool("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"),
        *(_tool("bwrap"), *_walls(relayed, limits, calls), "--", *command),
    ]


def _walls(visible: Mapping[str, Path], limits: Limits, calls: int) -> list[str]:
    links = [path for path in map(Path, LIBRARIES) if path.is_symlink()]
    words = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--hostname", "sandbox", "--uid", str(NOBODY), "--gid", str(NOBODY), "--seccomp", str(calls)]
    words += [word for item in ENVIRONMENT.items() for word in ("--setenv", *item)]
    words += [word for place, path in visible.items() for word in ("--ro-bind", str(path), place)]
    words += [word for path in links for word in ("--symlink", str(path.readlink()), str(path))]
    words += [word for path in interpreter()[2] for word in ("--tmpfs", str(path), "--remount-ro", str(path))]
    words += ["--dev-bind", "/dev/null", "/dev/null", "--size", str(limits.file_mib << 20), "--tmpfs", "/tmp"]
    return [*words, "--remount-ro", "/", "--chdir", "/tmp"]


def real_root() -> bool:
    """Whether this is the user whose processes the kernel does not limit in number."""
    return os.geteuid() == 0 and any(inside == outside == 0 for inside, outside, _ in _mapped("uid"))


def _nobodys_id() -> int:
    """One of `USERS`, as user and group. Raises SandboxBroken if this user namespace does not have them all."""
    for kind in ("uid", "gid"):
        if not any(first <= USERS[0] and USERS[-1] < first + count for first, _, count in _mapped(kind)):
            raise SandboxBroken(
                f"root needs the ids {USERS[0]} to {USERS[-1]} for programs, and this user namespace maps none: "
                "run as another user than root"
            )
    return secrets.choice(USERS)


def _mapped(kind: Literal["uid", "gid"]) -> list[tuple[int, int, int]]:
    """The ids that this user namespace has: the first inside, the first outside, and how many, for each range."""
    lines = Path(f"/proc/self/{kind}_map").read_text().splitlines()
    return [(int(inside), int(outside), int(count)) for inside, outside, count in map(str.split, lines)]


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        package = {"bwrap": "bubblewrap", "setpriv": "util-linux"}[name]
        raise SandboxBroken(f"{name} is not installed (Debian package {package})")
    return path


class Cell:
    """A running process and all that it starts: inside walls or, if `unsafe`, a plain one in a group of its own."""

    def __init__(
        self, command: list[str], extra: Mapping[str, Path], limits: Limits, stdin: int, stdout: int, *, unsafe: bool
    ) -> None:
        self._errors = os.memfd_create("errors")
        self._first: int | None = None  # handle of the first process inside; with it, all end
        self._info, info = os.pipe()
        calls = os.memfd_create("calls")
        try:
            if not unsafe:
                os.write(calls, seccomp_filter())
                os.lseek(calls, 0, os.SEEK_SET)
                command = walled(command, extra, limits, info, calls)
            self._process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=self._errors,
                pass_fds=() if unsafe else (info, calls),
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._errors)
            os.close(self._info)
            raise
        finally:
            os.close(info)
            os.close(calls)
        self._unsafe = unsafe

    def pin(self) -> None:
        """Get a handle of the first process inside, before anything untrusted runs; SandboxBroken if there is none."""
        if self._unsafe:
            return
        with os.fdopen(os.dup(self._info)) as info:
            text = info.read()
        self._first = _hold(json.loads(text)["child-pid"], self._process.pid) if text else None
        if self._first is None:
            status = self._process.wait()
            raise SandboxBroken(self.errors() or f"bwrap ended with status {status}")

    def errors(self) -> str:
        """The last line that the process wrote before it closed its standard error."""
        lines = os.pread(self._errors, 1 << 16, 0).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> None:
        """Kill everything inside, and return when it is dead."""
        with suppress(ProcessLookupError):
            if self._first is not None:
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            elif self._unsafe:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        if self._first is not None:  # the first process of a tree ends last
            ended = select.poll()
            ended.register(self._first, select.POLLIN)
            ended.poll()
        self._process.wait()
        for handle in (self._errors, self._info, self._first):
            if handle is not None:
                os.close(handle)


def _hold(process: int, parent: int) -> int | None:
    """A handle of a process, or None if it is dead (and its number perhaps another's by now)."""
    with suppress(OSError):
        handle = os.pidfd_open(process)
        with suppress(OSError):
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                return handle
        os.close(handle)
    return None
