"""`repro fit`, in this process or as a shell runs it."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers import REPRO
from helpers.command import repro


def fit(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    return repro("fit", *arguments, at=at)


def fit_in_a_shell(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [REPRO, "fit", *arguments]
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False, timeout=240)


@contextlib.contextmanager
def without_held_out() -> Iterator[None]:
    """Laws are compared without what they predict of each point left out: a fit a point, in tests of other things."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("repro.laws.comparison._held_out", lambda *_: float("nan"))
        yield


def strict(text: str) -> Any:
    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def saved(frame: pd.DataFrame, folder: Path, name: str = "losses.csv", **options: Any) -> Path:
    file = folder / name
    frame.to_csv(file, index=False, **options)
    return file
