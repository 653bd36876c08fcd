"""The text of the tasks decides scores and is in no stage's key: a change must raise the stages' versions.

Tasks that only ask the questions of a domain are exactly `ASKS`, and so need no digest: a new one changes no score.
"""

import hashlib
from pathlib import Path

from repro.data.domains import MADE_HERE
from repro.lm import tasks
from repro.stages.evaluate import Evaluate, Programs

ASKS = "include: _questions\ntask: {0}\ndataset_kwargs:\n  file: {0}.jsonl\n"
PINNED: dict[tuple[int, int], dict[str, str]] = {
    (1, 1): {
        "__init__.py": "5ba61a156f150327",
        "_completion": "669d2ae4d466c33c",
        "_questions": "2373f3e4a77325f5",
        "_solution": "2564351ce40de098",
        "chembench4k.yaml": "eb65802a6fa49f9c",
        "local.py": "da48bc9fc31ccced",
        "repro_humaneval.yaml": "3843180ad9d9a29b",
        "repro_humaneval_plus.yaml": "3297a1407f6bdc33",
        "repro_humaneval_plus_solution.yaml": "30bc9c821a969360",
        "repro_humaneval_solution.yaml": "44c1962addc34f63",
        "repro_questions.yaml": "831f312c7ba0a22c",
    }
}


def test_tasks_are_those_of_the_stages_version() -> None:
    folder = Path(next(iter(tasks.__path__)))
    files = sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    asking = {file.stem for file in files if file.read_bytes() == ASKS.format(file.stem).encode()}
    assert asking == set(MADE_HERE)
    others = {file for file in files if file.stem not in asking}
    digests = {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in others}
    assert digests == PINNED[Evaluate.version, Programs.version], (
        "a file of a new task: pin it too; a changed one: raise the versions of Evaluate and Programs, then pin it"
    )
