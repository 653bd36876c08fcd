"""lm-eval on a model in memory: its tasks and ours, without output, and leaving everything as it was."""

import functools
import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from repro.lm.shared_prompts import SharedPrompts
from repro.lm.tasks.local import read

TASKS = Path(__file__).parent / "tasks"

Samples = list[dict[str, Any]]


def own_tasks(names: Sequence[str], files: Mapping[str, Path]) -> dict[str, Any]:
    """Tasks of `repro/lm/tasks`, by name; files: benchmark -> JSON lines. Questions without a file are on the hub."""
    metadata: dict[str, Any] = {"files": {name: str(path) for name, path in files.items()}}
    manager = TaskManager(include_defaults=False, include_path=str(TASKS), metadata=metadata)
    return dict(manager.load(list(names))["tasks"])


def completions(name: str, files: Mapping[str, Path], new_tokens: int) -> dict[str, Any]:
    """A task of `repro/lm/tasks` that completes programs, by at most `new_tokens` tokens."""
    tasks = own_tasks([name], files)
    tasks[name].set_config("generation_kwargs", {"max_gen_toks": new_tokens}, update=True)
    return tasks


def shipped_tasks(benchmark: str, file: Path | None) -> dict[str, Any]:
    """lm-eval's own tasks of a name, which may be that of a group; their questions from `file`, or None for the hub.

    Raises ValueError if lm-eval has no such task, `file` has no line for one of them, or one shows few-shot examples.
    """
    names = _leaves(benchmark, _shipped().task_index)
    wanted: list[Any] = list(names)
    if file is not None:
        rows = read(file)
        asking = [name for name in names if _shipped().task_index[name].cfg.get("num_fewshot")]
        if asking:
            raise ValueError(f"{asking[0]} shows examples before the question, which {file} does not hold")
        wanted = [{"group": f"{benchmark} here", "task": [_override(name, benchmark, rows, file) for name in names]}]
    return dict(_shipped().load(wanted)["tasks"])


@functools.cache
def _shipped() -> TaskManager:
    return TaskManager()  # takes seconds: lm-eval has thousands of tasks


def _leaves(name: str, index: Mapping[str, Any]) -> list[str]:
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
    return [leaf for member in members for leaf in _leaves(member, index)]


def _override(name: str, benchmark: str, rows: datasets.Dataset, file: Path) -> dict[str, Any]:
    """A task with its questions from `rows`: all of them, or those of its subject if the benchmark is a group."""
    if name != benchmark:
        subject = name.removeprefix(f"{benchmark}_")
        rows = rows.filter(lambda row: row["subject"] == subject)
    if not len(rows):
        raise ValueError(f"{file} has no line for {name}")
    # One split under any name: without few-shot examples a task reads nothing else.
    every = defaultdict[str, datasets.Dataset](lambda: rows)
    local = {"custom_dataset": lambda **_: every, "dataset_kwargs": None, "training_split": None}
    return {"task": name, **local, "fewshot_split": None, "fewshot_config": None}


def run(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, tasks: Mapping[str, Any], *, batch: int, chat: bool
) -> dict[str, Samples]:
    """What lm-eval logs of every question, by task, in the order of the questions."""
    if not tasks:
        return {}
    for task in tasks.values():
        task.set_fewshot_seed(0)
    with _unchanged(model, tokenizer):
        language_model = SharedPrompts(
            pretrained=model, tokenizer=tokenizer, batch_size=batch, softmax_dtype="float32", backend="causal"
        )
        results = evaluate(
            language_model, {"tasks": dict(tasks)}, bootstrap_iters=0, apply_chat_template=chat, log_samples=True
        )
    samples: dict[str, Samples] = results["samples"]
    return samples


@contextmanager
def _unchanged(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Put modes and padding back: lm-eval puts the model into evaluation mode and sets the tokenizer's padding."""
    modes = [(module, module.training) for module in model.modules()]
    padding, side = tokenizer.pad_token, tokenizer.padding_side
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        tokenizer.pad_token, tokenizer.padding_side = padding, side


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars and notices of lm-eval, datasets and transformers; errors are still printed.

    Python's random state is put back: lm-eval draws numbers for names of tasks that it does not use.
    """
    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        logger = logging.getLogger("lm_eval")
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        stack.callback(transformers_logging.set_verbosity, transformers_logging.get_verbosity())
        transformers_logging.set_verbosity_error()
        stack.callback(setattr, lm_eval.api.task, "tqdm", lm_eval.api.task.tqdm)
        lm_eval.api.task.tqdm = functools.partial(tqdm, disable=True)
        if datasets.is_progress_bar_enabled():
            stack.callback(datasets.enable_progress_bars)
            datasets.disable_progress_bars()
        yield
