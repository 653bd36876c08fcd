"""Benchmarks, question by question: what a model answers, and how likely it finds the right answer.

lm-eval asks the questions (`repro.lm.harness`); which of a benchmark's files and programs it may use is decided here.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repro.data.domains import MADE_HERE

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from repro.lm.harness import Samples

TASKS = Path(__file__).with_name("tasks")
PROGRAMS = ("humaneval", "humaneval_plus")
OURS = (*PROGRAMS, *sorted(file.stem for file in TASKS.glob("*.yaml") if not file.stem.startswith("repro_")))
IDENTITIES = ("item", "task_id", "id")
OUTCOMES = ("passed", "failed", "timed out")
COLUMNS = {
    "benchmark": "str",
    "item": "str",
    "right": "boolean",
    "right_norm": "boolean",
    "logprob": "float64",
    "length": "int64",
    "margin": "float64",
    "chosen": "Int64",
    "response": "str",
    "status": "str",
}

Row = dict[str, Any]
Executor = Callable[[str, str, str, str], str]
"""Runs a program (whole source, name of the function, test, prompt) and says "passed", "failed" or "timed out".

The prompt is the problem's own opening of the program: some tests use the functions that it defines."""


def evaluate(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    benchmarks: Sequence[str],
    *,
    folder: Path | None = None,
    data: Mapping[str, Path] | None = None,
    hub: bool = False,
    batch: int = 16,
    chat: bool = False,
    limit: int | None = None,
    execute: Executor | None = None,
    new_tokens: int = 512,
    seed: int = 0,
) -> pd.DataFrame:
    """One row for each question of each benchmark, questions in the order of their file.

    A benchmark is a task of `repro/lm/tasks`, `humaneval`, `humaneval_plus`, or a task or group of lm-eval; its
    questions are in `data[benchmark]`, else in `folder/<benchmark>.jsonl` if there is one, else on the hub. No
    few-shot examples are shown, unless a task of lm-eval itself asks for some.

    model: may be a PEFT model; it stays on its device, in its number formats and in its mode.
    batch: questions a forward pass. In fp32 it decides nothing beyond rounding. Questions are sorted before they are
        batched, so that a question's score does not depend on the order of the file, only on which are in it.
    chat: whether the question is the user's turn of the tokenizer's chat template, and a choice all of the
        assistant's, without the space that otherwise goes before it. Programs are completed without a template.
    limit: only so many questions of each task, the first ones.
    execute: runs programs; without it no program is written and those questions are not run.
    new_tokens: the longest response in tokens.
    seed: of lm-eval's choice of few-shot examples.

    Columns: `benchmark`; `item`; `right`: the choice of the greatest log-likelihood is the right one (lm-eval's
    `acc`), or the program passed its test. Not `acc_norm`, because only so `right` is the sign of `margin`, and both
    speak of the probability that training on answers raises. `right_norm`: by log-likelihood per character
    (`acc_norm`). `logprob`: log-likelihood in nats of the right answer after the question, for programs of the
    canonical solution. `length`: bytes of that answer as scored. `margin`: `logprob` less that of the best wrong
    choice, in nats. `chosen`: index of the choice of the greatest log-likelihood. `response`: the program's text
    after its prompt. `status`: "scored" for a choice, for a program what came of it: "passed", "failed", "timed out"
    or "not run". What does not exist is missing (NA, NaN, or "" for the response), never 0 or wrong.

    Raises:
        ValueError: if a benchmark's questions are nowhere to be found, the hub not being allowed; if a question does
        not fit the model's context; if `execute` gives another word than its three; if `batch` or `limit` is below 1.

    """
    from repro.lm import harness

    if batch < 1 or (limit is not None and limit < 1):
        raise ValueError("batch and limit are counts of questions, 1 or more")
    files = _files(benchmarks, folder, data or {}, hub)
    how: dict[str, Any] = {"batch": batch, "limit": limit, "seed": seed}
    rows: list[Row] = []
    with harness.quiet():
        for benchmark in benchmarks:
            if benchmark in PROGRAMS:
                solutions = harness.own_tasks([f"repro_{benchmark}_solution"], files)
                responses = harness.completions(f"repro_{benchmark}", files, new_tokens) if execute else {}
                likely, written = (harness.run(model, tokenizer, tasks, **how) for tasks in (solutions, responses))
                rows += _program_rows(benchmark, likely, written, execute)
            else:
                tasks = harness.choice_tasks(benchmark, files)
                rows += _choice_rows(benchmark, tasks, harness.run(model, tokenizer, tasks, chat=chat, **how))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _files(benchmarks: Sequence[str], folder: Path | None, data: Mapping[str, Path], hub: bool) -> dict[str, Path]:
    """Where the questions of each benchmark are; those that are to be read from the hub are left out."""
    files: dict[str, Path] = {}
    for benchmark in benchmarks:
        beside = folder / f"{benchmark}.jsonl" if folder else None
        if benchmark in data:
            files[benchmark] = data[benchmark]
        elif beside and beside.exists():
            files[benchmark] = beside
        elif not hub or benchmark in MADE_HERE:
            place = f"no {beside}" if beside else f"no folder with a {benchmark}.jsonl given"
            allowed = "" if benchmark in MADE_HERE else ", and the hub is not to be read (hub=True allows it)"
            raise ValueError(f"{benchmark}: there is {place}{allowed}")
    for path in files.values():
        if not path.exists():
            raise ValueError(f"there is no {path}")
    return files


def _choice_rows(benchmark: str, tasks: Mapping[str, Any], samples: Mapping[str, "Samples"]) -> list[Row]:
    names: Counter[str] = Counter()
    rows = []
    for task, logged in samples.items():
        for sample in logged:
            item = _item(benchmark, task, sample, names)
            choices = tasks[task].doc_to_choice(sample["doc"])
            rows.append({"benchmark": benchmark, "item": item, **_choice(sample, choices)})
    return rows


def _choice(sample: Mapping[str, Any], choices: Sequence[str]) -> Row:
    """The row of one multiple-choice question; choices: their texts without what separates them from the question."""
    target = sample["target"]
    right = choices.index(target) if isinstance(target, str) else int(target)
    logprobs = np.array([logprob for logprob, _ in sample["filtered_resps"]])
    if np.isnan(logprobs).any():  # of which argmax would choose the first
        raise FloatingPointError(f"a log-probability is not a number: {sample['doc_hash']}")
    chosen = int(logprobs.argmax())
    by_length = int((logprobs / [len(choice) for choice in choices]).argmax())
    return {
        "right": chosen == right,
        "right_norm": by_length == right,
        "logprob": logprobs[right],
        "length": len(sample["arguments"][right][1].encode()),
        "margin": logprobs[right] - np.delete(logprobs, right).max(),
        "chosen": chosen,
        "response": "",
        "status": "scored",
    }


def _program_rows(
    benchmark: str, likely: Mapping[str, "Samples"], written: Mapping[str, "Samples"], execute: Executor | None
) -> list[Row]:
    """One row a problem from what was logged of its canonical solution and, where there is one, of its response."""
    solutions = likely[f"repro_{benchmark}_solution"]
    responses = written.get(f"repro_{benchmark}", [])
    names: Counter[str] = Counter()
    rows = []
    for n, sample in enumerate(solutions):
        ((logprob, _),) = sample["filtered_resps"]
        if np.isnan(logprob):
            raise FloatingPointError(f"a log-probability of {benchmark} is not a number")
        row: Row = {
            "benchmark": benchmark,
            "item": _item(benchmark, benchmark, sample, names),
            "right": None,
            "right_norm": None,
            "logprob": logprob,
            "length": len(sample["arguments"][0][1].encode()),
            "margin": np.nan,
            "chosen": None,
            "response": "",
            "status": "not run",
        }
        rows.append(row | (_executed(responses[n], execute) if execute else {}))
    return rows


def _executed(sample: Mapping[str, Any], execute: Executor) -> Row:
    document, response = sample["doc"], sample["filtered_resps"][0]
    program = sample["arguments"][0][0] + response
    outcome = execute(program, document["entry_point"], document["test"], document["prompt"])
    if outcome not in OUTCOMES:
        raise ValueError(f"a program's outcome is one of {', '.join(OUTCOMES)}, not {outcome!r}")
    return {"right": outcome == "passed", "response": response, "status": outcome}


def _item(benchmark: str, task: str, sample: Mapping[str, Any], names: Counter[str]) -> str:
    """What tells a question apart: its own name, or a hash of it, after the subject or task it belongs to."""
    document = sample["doc"]
    own = next((str(document[key]) for key in IDENTITIES if document.get(key) not in (None, "")), None)
    part = task if task != benchmark else document.get("subject", "")
    name = "/".join(filter(None, [part, own or sample["doc_hash"][:16]]))
    names[name] += 1
    return name if names[name] == 1 else f"{name}#{names[name]}"  # a question that is there twice
