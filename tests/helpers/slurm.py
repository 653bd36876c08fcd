"""A real Slurm of two nodes on this one machine, in one folder, beside any that is installed here already.

One munged, one slurmctld and two slurmd, on free ports, all of them under the user who asks for them. A node takes
one job at a time.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
PACKAGES = ("slurm-wlm", "munge")
NODES = ("node1", "node2")
SOCKET_LENGTH = 100  # the kernel takes 107 bytes; munged adds a suffix to a lock beside it
PATIENCE = 60.0  # seconds, for daemons to come up or go down


@dataclass(frozen=True)
class Slurm:
    """A running Slurm; ``SLURM_CONF`` points its commands here."""

    folder: Path

    def jobs(self) -> dict[str, tuple[str, str]]:
        """For each job that waits or runs, its state ("RUNNING") and node ("node1", or "")."""
        lines = _ask("squeue", "--noheader", "--format=%i %T %N").splitlines()
        return {words[0]: (words[1], words[2] if len(words) > 2 else "") for words in map(str.split, lines)}

    def cancel(self, job: str) -> None:
        _ask("scancel", job)

    def nodes(self) -> dict[str, str]:
        """The state of each node ("idle", "allocated", "down", ...)."""
        lines = _ask("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return {words[0]: words[1] for words in map(str.split, lines)}


@cache
def why_not() -> str | None:
    """Why Slurm cannot run here, None if it can; installs it (with apt-get) where it is missing."""
    if not sys.platform.startswith("linux"):
        return "Slurm runs on Linux only"
    if not _missing():
        return None
    if shutil.which("apt-get") is None:
        return f"not installed: {', '.join(_missing())}, and there is no apt-get"
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if root and (shutil.which("sudo") is None or subprocess.run([*root, "true"], capture_output=True).returncode):
        return f"not installed: {', '.join(_missing())}, and only root may install them"
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*apt, "update"], capture_output=True)  # what is known already may do
    done = subprocess.run([*apt, "install", "-y", "--no-install-recommends", *PACKAGES], capture_output=True, text=True)
    if done.returncode or _missing():
        return f"apt-get cannot install {' and '.join(PACKAGES)}: {done.stderr.strip()[-300:]}"
    return None


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Slurm on this machine, all its files in `folder`; it ends with the context, its jobs with it.

    Raises:
        RuntimeError: with the last lines of a daemon's log, if one does not come up.

    """
    if reason := why_not():
        raise RuntimeError(reason)
    folder.mkdir(parents=True, exist_ok=True)
    key, munge = folder / "munge.key", folder / "munge.socket"
    if len(str(munge)) > SOCKET_LENGTH:
        raise RuntimeError(f"too long for a socket: {munge}")
    _ask("mungekey", "--create", f"--keyfile={key}")
    conf = folder / "slurm.conf"
    conf.write_text(_conf(folder, munge))
    running = Slurm(folder)
    with ExitStack() as stack:
        stack.enter_context(_environment("SLURM_CONF", str(conf)))
        options = [f"--{name}={folder}/munge.{name}" for name in ("pid-file", "seed-file", "log-file")]
        munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}", *options]
        stack.enter_context(_daemon(folder, "munged", munged))
        _wait(folder, "munged", lambda: munge.exists())
        stack.enter_context(_daemon(folder, "slurmctld", ["slurmctld", "-D", "-i", "-f", str(conf)]))
        for node in NODES:
            stack.enter_context(_daemon(folder, node, ["slurmd", "-D", "-N", node, "-f", str(conf)]))
        stack.callback(_end_jobs, running)
        _wait(folder, "slurmctld", lambda: _idle(running))
        yield running


def _missing() -> list[str]:
    return [program for program in PROGRAMS if _which(program) is None]


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _conf(folder: Path, munge: Path) -> str:
    ports = _free_ports(1 + len(NODES))
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    for name in ("state", *NODES):
        (folder / name).mkdir()
    settings = {
        "ClusterName": "repro-test",
        "SlurmctldHost": f"{socket.gethostname().split('.')[0]}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={munge}",
        "CredType": "cred/munge",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "%n",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "%n.pid",
        # No cgroups: a process that a job leaves behind is found by its parents.
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        # The nodes are what is written here, whatever this machine has.
        "SlurmdParameters": "config_overrides",
        "ReturnToService": 2,
        "KillWait": 5,  # seconds from SIGTERM to SIGKILL
        "MinJobAge": 10,
        "MailProg": "/bin/true",
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    host = "NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=1 RealMemory=100000"
    lines += [f"NodeName={node} {host} Port={port}" for node, port in zip(NODES, ports[1:], strict=True)]
    lines += [f"PartitionName=debug Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP"]
    return "\n".join(lines) + "\n"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _daemon(folder: Path, name: str, command: list[str]) -> Iterator[None]:
    """A daemon in the foreground, its words in ``<name>.log``; it is stopped, and waited for, with the context."""
    with (folder / f"{name}.log").open("ab") as log:
        program = _which(command[0])
        # A session of its own: Ctrl-C in the terminal is for the tests, which then stop it in their order.
        process = subprocess.Popen(
            [str(program), *command[1:]], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        time.sleep(0.2)
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}:\n{_tail(folder, name)}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_jobs(running: Slurm) -> None:
    """No job outlives its Slurm: slurmd leaves the processes of a job alone when it stops."""
    for job in running.jobs():
        running.cancel(job)
    deadline = time.monotonic() + PATIENCE
    while running.jobs():
        if time.monotonic() > deadline:
            raise RuntimeError(f"jobs do not end: {running.jobs()}")
        time.sleep(0.2)


def _idle(running: Slurm) -> bool:
    try:
        return set(running.nodes().values()) == {"idle"}
    except RuntimeError:  # slurmctld does not answer yet
        return False


def _wait(folder: Path, name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            logs = [f"{each}:\n{_tail(folder, each)}" for each in (name, *NODES)]
            raise RuntimeError("\n".join([f"{name} does not come up", *logs]))
        time.sleep(0.2)


def _tail(folder: Path, name: str) -> str:
    log = folder / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(no log)"


def _ask(*command: str) -> str:
    """What a command says.

    Raises:
        RuntimeError: with its complaint, if it fails.

    """
    done = subprocess.run([str(_which(command[0])), *command[1:]], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
