"""The text of the tasks decides scores and is in no stage's key: who changes it must raise the stage's version."""

import hashlib
from pathlib import Path

from repro.lm import tasks
from repro.stages.evaluate import Evaluate, Programs

PINNED = {(1, 1): "fc6fb1c6aa0013fe"}


def test_tasks_are_those_of_the_stages_version() -> None:
    folder = Path(next(iter(tasks.__path__)))
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    versions = (Evaluate.version, Programs.version)
    assert PINNED.get(versions) == digest.hexdigest()[:16], "raise the version of Evaluate and Programs, then pin this"
