"""Keeps as many jobs in the queue as workers are wanted. dask-jobqueue never looks at the queue: it would wait for ever
for a job that is cancelled, or ends by a wrong line of setup, before its worker starts.
"""

import asyncio
import getpass
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from distributed import SchedulerPlugin, Status

if TYPE_CHECKING:
    from distributed import Scheduler, SpecCluster, Worker

LOOK_SECONDS = 15.0  # between two looks at the queue, and only while a worker is missing
EXTRA = 2  # how many more jobs than workers may end in a row before their worker starts
LAST_LINES = 5
PAUSE_SECONDS = 600.0  # after too many of those, before more are submitted; only while some worker lives
REFUSED_SECONDS = 6 * 3600.0  # without a worker, before refused jobs are taken to be refused for good
ANSWER_SECONDS = 60.0  # before a batch system that says nothing is taken not to answer
END_SECONDS = 5.0  # that a worker has to end by itself
NONE_LEFT = "No unfinished job found"  # LSF calls that an error


class Jobs(SchedulerPlugin):
    """The jobs of one cluster; as a plugin it is told of each worker that starts.

    system: what ``batch.yaml`` says of it; refusal: why the batch system last refused a job; trouble: why no worker
    will start any more, or None.
    """

    def __init__(
        self, cluster: "SpecCluster", system: Mapping[str, Any], workers: int, logs: Path, tell: Callable[[str], None]
    ) -> None:
        self.refusal = ""
        self.trouble: str | None = None
        self._cluster = cluster
        self._scheduler: Any = cluster.scheduler
        self._system = system
        self._workers = workers
        self._logs = logs
        self._tell = tell
        self._came: set[str] = set()  # names of workers that have started
        self._missing: set[str] = set()  # whose jobs were not in the queue at the last look
        self._wasted: set[str] = set()  # whose jobs ended before they started, since the last worker started
        self._paused = 0.0  # when those became too many
        self._reported = ""  # the refusal that the user was told of
        self._refused_since = 0.0  # since when there is one
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def submit(self) -> None:
        """Submit the first jobs, and look after them from then on; RuntimeError if the batch system refuses one."""
        self._scheduler.add_plugin(self)
        await self._replace(set())
        submitted = f"{self._workers} jobs" if self._workers > 1 else "a job"
        self._tell(f"{submitted} submitted to {self._system['called']}; waiting for the first worker")
        self._task = asyncio.create_task(self._watch())

    def add_worker(self, scheduler: "Scheduler", worker: str) -> None:
        self._came.add(str(scheduler.workers[worker].name))
        self._wasted = set()

    async def stop(self) -> None:
        """Submit no more; waits for one that is being submitted, so that it can be cancelled."""
        self._stopping.set()
        if self._task:
            await self._task

    async def _watch(self) -> None:
        while self.trouble is None and not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), LOOK_SECONDS)
            except TimeoutError:
                try:
                    await self._look()
                except Exception as error:  # no more looks would follow, and lost jobs be waited for without end
                    self._give_up(f"cannot look after the jobs: {error!r}")

    async def _look(self) -> None:
        known = {name: self._job(name) for name in self._cluster.worker_spec}
        if known.keys() <= self._alive():
            self._missing = set()
            return
        listed = await self._listed()
        if listed is None:  # no answer says nothing about the jobs
            return
        missing = {name for name, job in known.items() if job not in listed} - self._alive()
        ended = missing & self._missing  # missed twice: the list may lag behind what was submitted
        self._missing = missing
        if self._too_many() and time.monotonic() - self._paused > PAUSE_SECONDS and self._alive():
            self._wasted = set()
        already = self._too_many()
        self._wasted |= ended - self._came - self._refused_for_now(ended)
        if not self._too_many():
            await self._try_again(ended)
            return
        if not already:
            self._paused = time.monotonic()
        if ended & self._came:  # no fault of theirs: the end of their time
            await self._try_again(ended & self._came)
        if known.keys() <= self._wasted:
            words = self.refusal or self._last_words([job for job in known.values() if job])
            self._give_up(f"{len(self._wasted)} jobs in a row ended before their worker started: {words}")

    def _refused_for_now(self, ended: set[str]) -> set[str]:
        """Those of `ended` that were refused although others were accepted, as when all jobs reach their wall time
        together. They are submitted again now and then; while there is no worker, for a few hours.
        """
        refused = {name for name in ended if self._job(name) is None} if self._came else set()
        if refused and not self._reported:
            self._refused_since = time.monotonic()
        if refused and self.refusal != self._reported:
            self._reported = self.refusal
            self._tell(
                f"{self._system['called']} refuses a job, which is submitted again every now and then: {self._reported}"
            )
        patient = self._alive() or time.monotonic() - self._refused_since < REFUSED_SECONDS
        return refused if patient else set()

    def _too_many(self) -> bool:
        return len(self._wasted) >= self._workers + EXTRA

    def _job(self, name: str) -> str | None:
        """The number of the job that was submitted for a worker; None if it was refused, or cancelled as lost."""
        return self._cluster.workers[name].job_id if name in self._cluster.workers else None

    def _alive(self) -> set[str]:
        return {worker.name for worker in self._scheduler.workers.values()}

    async def _try_again(self, ended: set[str]) -> None:
        jobs = sorted(job for name in ended if (job := self._job(name)))
        try:
            await self._replace(ended)
        except RuntimeError:  # reported if no job works at all; refused jobs are submitted again at the next look
            return
        if jobs:
            words = (
                f"job {jobs[0]} ended; another is" if len(jobs) == 1 else f"jobs {', '.join(jobs)} ended; others are"
            )
            self._tell(f"{words} submitted")

    async def _replace(self, ended: set[str]) -> None:
        """Submit as many jobs as are missing, and forget those that ended."""
        spec = self._cluster.worker_spec
        while len(spec) - len(ended) < self._workers:
            spec.update(self._cluster.new_worker_spec())  # before the old names are free: dask closes jobs by name
        for name in ended:
            del spec[name]
        try:
            await self._cluster
        except RuntimeError as error:
            for job in self._cluster.workers.values():
                if job.job_id is None:
                    job.status = Status.failed  # or dask would trip over it when it closes the cluster
            complaint = re.search(r"stderr:\n(.+)", str(error))
            self.refusal = complaint.group(1).strip() if complaint else str(error)
            raise
        if all(map(self._job, spec)):
            self.refusal = self._reported = ""

    async def _listed(self) -> set[str] | None:
        """The numbers of the user's jobs that wait or run, None if the batch system does not answer."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._system["list"],
                getpass.getuser(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError:
            return None
        answer = asyncio.ensure_future(process.communicate())
        end = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({answer, end}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if not answer.done():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with its children, which would keep the answer open
            with suppress(TimeoutError):  # or its pipes would outlive the event loop, which prints an error
                await asyncio.wait_for(answer, END_SECONDS)
            return None
        output, complaint = answer.result()
        if process.returncode and NONE_LEFT not in complaint.decode(errors="replace"):
            return None
        return set(re.findall(r"^\d+", output.decode(), re.MULTILINE))

    def _give_up(self, why: str) -> None:
        """Cancel every run that a client waits for."""
        self.trouble = f"{why} (logs: {self._logs})"
        for client in list(self._scheduler.clients):
            keys = [key for key, task in self._scheduler.tasks.items() if task.who_wants]
            self._scheduler.stimulus_cancel(keys, client, force=True, reason="no workers", msg=self.trouble)

    def _last_words(self, jobs: list[str]) -> str:
        logs = [log for job in jobs for log in self._logs.glob(f"[!.]*{job}*")]
        if not logs:
            return "they left no log"
        newest = max(logs, key=lambda log: log.stat().st_mtime)
        return " / ".join(newest.read_text(errors="replace").splitlines()[-LAST_LINES:])


def dask_setup(worker: "Worker") -> None:
    """Make sure that the worker ends, and its job with it: by itself it waits for a run that a lost scheduler has made
    useless, or stays for ever if its job is cancelled as the scheduler closes. dask calls this in each worker
    (`--preload`).
    """
    Thread(target=_end, args=(worker,), daemon=True).start()


def _end(worker: "Worker") -> None:
    while worker.status not in (Status.closing, Status.closed, Status.failed):
        time.sleep(1)
    time.sleep(END_SECONDS)
    os._exit(1)
