"""What produced a result: commit, packages, hardware."""

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from repro.home import home


@functools.cache
def commit() -> str:
    """The checkout's commit, with "+changes" if tracked files differ from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=home(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changes = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@functools.cache
def packages() -> dict[str, str]:
    """Versions of Python and of every package this project pins for its runs (not for its tests)."""
    pinned = [line for line in metadata.requires("repro") or [] if "extra ==" not in line]
    versions = {"python": platform.python_version()}
    for name in sorted(line.split("==")[0] for line in pinned):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


@functools.cache
def hardware(device: str) -> str:
    """One line naming the processor, or the accelerator, that did the work."""
    if device != "cpu":
        return _accelerator(device)
    memory = round(psutil.virtual_memory().total / 2**30)
    return f"{_processor()}, {os.cpu_count()} logical cores, {memory} GiB"


def _accelerator(device: str) -> str:
    number = int(device.partition(":")[2] or 0)
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    own = visible[number] if number < len(visible) else str(number)
    query = ["nvidia-smi", f"--id={own}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # containers may lack it, and the run is done by now
        return f"{device}; nvidia-smi does not say which"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def provenance(device: str) -> dict[str, Any]:
    """The part of a run's record that says where its numbers come from."""
    return {"commit": commit(), "packages": packages(), "hardware": hardware(device)}
