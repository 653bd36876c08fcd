"""Workers as jobs of a batch system: what a job asks for, the cluster of jobs, and the credentials to join it.
dask-jobqueue submits and cancels; the directives are written here, so that `repro plan` shows them without dask.
"""

import math
import re
import shlex
import shutil
import signal
import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import psutil
import yaml

from repro.runs.temporary import temporary

if TYPE_CHECKING:
    from distributed import SpecCluster
    from distributed.security import Security

NAME = "repro"
SYSTEMS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
CLUSTERS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("clusters.yaml").read_text(encoding="utf-8"))
OPTIONAL = ("queue", "account", "gpus")
WALLTIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d)")
WORD = re.compile(r"[\w.,:@/+-]+")  # what a queue, an account or an interface is called
KEY, CERTIFICATE = "key.pem", "certificate.pem"


class Unavailable(RuntimeError):
    """There is no such cluster, or it does not work: one line says why."""


class ClusterLost(Unavailable):
    """The cluster went away while it was used; what is done is kept."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Workers as jobs of a batch system, one a job, on nodes that see the same files as this process. All connections
    are TLS, with credentials made for one cluster: others on the network get nowhere.

    workers: how many jobs are kept in the queue; logs: the folder for what they print, and for the credentials;
    walltime: "HH:MM:SS" for each job, after which its run resumes in the next one; cores, memory_gib (GiB of main
    memory), gpus: of each job; interface: of the network between the nodes ("ib0"), by default that of the host's
    address; directives: more of the system's own, without "#SBATCH"; setup: lines of shell before the worker starts.
    Raises ValueError for a field that no batch system could take.
    """

    system: Literal["slurm", "pbs", "lsf"]
    workers: int
    logs: Path
    queue: str | None = None
    account: str | None = None
    walltime: str = "08:00:00"
    cores: int = 1
    memory_gib: float = 8.0
    gpus: int = 0
    interface: str | None = None
    directives: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not WALLTIME.fullmatch(self.walltime):
            raise ValueError(f"walltime {self.walltime!r} is not HH:MM:SS")
        for name in ("queue", "account", "interface"):
            value = getattr(self, name)
            if value is not None and not WORD.fullmatch(value):
                raise ValueError(f"{name} {value!r} is not a name")
        for line in self.directives:
            if not line.isprintable():
                raise ValueError(f"directive {line!r} is not one line")

    def script_words(self) -> list[str]:
        """The directives at the head of a job's script."""
        return [f"{self._is['prefix']} {words}" for words in self._directives()]

    def _directives(self) -> list[str]:
        hours, minutes, seconds = map(int, self.walltime.split(":"))
        total = hours * 60 + minutes + math.ceil(seconds / 60)
        made = {
            "name": NAME,
            "logs": shlex.quote(str(self.logs.absolute())),
            "mib": self._mib,
            "and_gpus": f":ngpus={self.gpus}" if self.gpus else "",
            "whole_minutes": f"{total // 60:02d}:{total % 60:02d}",
        }
        left_out = [f"{{{name}}}" for name in OPTIONAL if not getattr(self, name)]
        lines = [line for line in self._is["directives"] if not any(name in line for name in left_out)]
        return [*(line.format(**vars(self) | made) for line in lines), *self.directives]

    @property
    def _is(self) -> Mapping[str, Any]:
        return SYSTEMS[self.system]

    @property
    def _mib(self) -> int:
        return math.ceil(self.memory_gib * 1024)

    def check(self) -> None:
        """Raise Unavailable if dask-jobqueue or the submit command is not installed here."""
        try:
            _import("dask_jobqueue")
        except ImportError as error:
            raise Unavailable("a batch system needs dask-jobqueue: pip install '.[cluster]'") from error
        if shutil.which(self._is["submit"]) is None:
            raise Unavailable(f"{self._is['submit']} is not on PATH: {self.system} jobs cannot be submitted from here")

    def open(self, resources: Mapping[str, float], environment: Mapping[str, str], tls: Path) -> "SpecCluster":
        """A scheduler in this process, and how to submit workers to it, with what each offers, its environment and the
        folder of the credentials; no job is submitted yet. Raises Unavailable if this host has no such network
        interface.
        """
        if self.interface is not None and self.interface not in psutil.net_if_addrs():
            raise Unavailable(
                f"no network interface {self.interface} here; there are {', '.join(psutil.net_if_addrs())}"
            )
        exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        offered = ",".join(f"{name}={value}" for name, value in resources.items())
        kind = getattr(_import("dask_jobqueue"), self._is["cluster"])
        cluster: SpecCluster = kind(
            name=NAME,
            job_name=NAME,
            memory=f"{self._mib}MiB",
            interface=self.interface,
            # The worker takes the place of the shell, or signals would end the shell and leave the worker behind.
            python=f"exec {shlex.quote(sys.executable)}",
            worker_extra_args=[*(["--resources", offered] if offered else []), *CLUSTERS["worker"]],
            job_script_prologue=[
                f"cd {shlex.quote(str(Path.cwd()))}",
                *self.setup,
                *exports,
            ],  # PBS starts jobs at home
            job_directives_skip=[self._is["prefix"]],  # all of them: ours take their place
            job_extra_directives=self._directives(),
            security=security(tls),
            **CLUSTERS["jobs"],
        )
        cluster.new_spec["options"]["security"] = security(tls, shlex.quote)  # it stands in the script as it is
        return cluster

    @contextmanager
    def cluster(
        self, resources: Mapping[str, float], environment: Mapping[str, str], tell: Callable[[str], None]
    ) -> Iterator["SpecCluster"]:
        """The cluster of jobs; one that ends is submitted again, and all are cancelled with the context. tell: takes a
        line, from another thread, whenever jobs are submitted. Raises Unavailable: at once if jobs cannot be submitted;
        later, in whatever waits for a result, if they keep ending before their worker starts.
        """
        from repro.runs.jobs import Jobs

        self.check()
        self.logs.mkdir(parents=True, exist_ok=True)
        with credentials(self.logs) as tls, closing(self.open(resources, environment, tls)) as cluster:
            jobs = Jobs(cluster, self._is, self.workers, self.logs, tell)
            try:
                cluster.sync(jobs.submit)
            except RuntimeError as error:
                raise Unavailable(f"{self._is['submit']} refuses the job: {jobs.refusal}") from error
            try:
                yield cluster
            except (Exception, CancelledError) as error:
                if jobs.trouble is None:
                    raise
                raise ClusterLost(jobs.trouble) from error
            finally:
                cluster.sync(jobs.stop)


@contextmanager
def credentials(inside: Path) -> Iterator[Path]:
    """A folder in `inside`, for this user alone, with a key and a certificate that let into one cluster for a year;
    removed with the context, or by the next call if the process was killed.
    """
    from distributed.security import Security

    made = Security.temporary()  # one pair, its own authority, for client, scheduler and workers
    with temporary(".tls-", inside.absolute()) as folder:
        for name, text in ((KEY, made.tls_worker_key), (CERTIFICATE, made.tls_worker_cert)):
            (folder / name).touch(mode=0o600, exist_ok=False)
            (folder / name).write_text(text)
        yield folder


def security(folder: Path, spelled: Callable[[str], str] = str) -> "Security":
    """The credentials in `folder` as dask takes them; spelled: how to write the paths of the files."""
    from distributed.security import Security

    files = {kind: spelled(str(folder / name)) for kind, name in (("key", KEY), ("cert", CERTIFICATE))}
    roles = {f"tls_{role}_{kind}": file for role in ("client", "scheduler", "worker") for kind, file in files.items()}
    return Security(require_encryption=True, tls_ca_file=files["cert"], **roles)


def _import(name: str) -> ModuleType:
    """Import a module and leave Ctrl-C as it is: dask-jobqueue's handler would end the process with status 0."""
    ours = signal.getsignal(signal.SIGINT)
    try:
        return import_module(name)
    finally:
        if threading.current_thread() is threading.main_thread():  # no other thread could have changed it
            signal.signal(signal.SIGINT, ours)
