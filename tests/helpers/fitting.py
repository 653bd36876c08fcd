"""`repro fit` as a shell runs it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd

from helpers import REPRO


def fit(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [REPRO, "fit", *arguments]
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, check=False, timeout=240)


def strict(text: str) -> Any:
    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def saved(frame: pd.DataFrame, folder: Path, name: str = "losses.csv", **options: Any) -> Path:
    file = folder / name
    frame.to_csv(file, index=False, **options)
    return file
