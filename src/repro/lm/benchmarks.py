"""The benchmarks by name: those of this project, and which of lm-eval's are scored here."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TASKS = Path(__file__).with_name("tasks")
PROGRAMS = ("humaneval", "humaneval_plus")
OURS = (*PROGRAMS, *sorted(file.stem for file in TASKS.glob("*.yaml") if not file.stem.startswith("repro_")))
ANY = "repro_questions"  # the task that asks what lies in a file
SCORED = "multiple_choice"  # the kind of task whose choices are compared by their likelihoods
# Known to be scored: the index of lm-eval's tasks, of which there are thousands, takes long to read.
KNOWN = ("arc_challenge", "arc_easy", "hellaswag", "medmcqa", "medqa_4options", "mmlu", "piqa", "pubmedqa", "sciq")


@functools.cache
def tasks() -> Any:
    """lm-eval's `TaskManager`; it takes seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def leaves(name: str, index: Mapping[str, Any]) -> list[str]:
    """The tasks that a name stands for, which may be that of a group; ValueError if lm-eval has no such task."""
    if name not in index:
        raise ValueError(f"lm-eval has no task {name!r}")
    entry = index[name]
    if entry.kind.name == "TAG":
        return sorted(entry.tags)
    if entry.kind.name != "GROUP":
        return [name]
    members = [
        child if isinstance(child, str) else child.get("task", child.get("group")) for child in entry.cfg["task"]
    ]
    return [leaf for member in members for leaf in leaves(member, index)]


def require_scored(benchmarks: Iterable[str]) -> None:
    """Raise ValueError, naming it, for a benchmark that is neither made here nor a task of lm-eval, or asks for more
    than a choice: text that is compared, code that is executed, or scores of its own.
    """
    allowed = f"must be one of {', '.join(OURS)}, or a task of lm-eval that offers choices, such as {KNOWN[-4]}"
    for name in benchmarks:
        if name in OURS or name in KNOWN:
            continue
        index = tasks().task_index
        if name not in index:
            raise ValueError(f"{name!r} is neither a benchmark of this project nor a task of lm-eval; {allowed}")
        for settings in (index[leaf].cfg or {} for leaf in leaves(name, index)):
            if settings.get("output_type") != SCORED or "process_results" in settings:
                raise ValueError(f"{name!r} cannot be scored here; {allowed}")
