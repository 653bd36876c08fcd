"""Benchmarks, question by question: what a model answers, and how likely it finds the right answer. lm-eval asks the
questions (`repro.lm.harness`); what is decided here is where they are read and which programs run.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repro.data.domains import MADE_HERE
from repro.lm.benchmarks import ANY, OURS, PROGRAMS as PROGRAMS

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from repro.lm.harness import Samples

IDENTITIES = ("item", "task_id", "id")
SOLUTION, RESPONSE = "solution", "response"  # tasks of a problem
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
"""Runs a program (its source, the function's name, the test, the prompt); returns "passed", "failed" or "timed out".

The prompt is the beginning of the program as the problem states it: some tests use functions that it defines."""


def evaluate(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    benchmarks: Sequence[str],
    *,
    folder: Path,
    own: Collection[str] = (),
    hub: bool = False,
    batch: int = 16,
    chat: bool = False,
    execute: Executor | None = None,
    new_tokens: int = 512,
) -> pd.DataFrame:
    """One row for each question of each benchmark, questions in the order of their file. A benchmark is a task of
    `repro/lm/tasks`, `humaneval`, `humaneval_plus`, one of `own` (the user's questions), or a task or group of lm-eval;
    its questions are in `folder/<benchmark>.jsonl`, or on the hub if there is no such file and ``hub`` allows it. No
    few-shot examples are shown, unless a task of lm-eval asks for some.

    model: may be a PEFT model; it stays on its device, in its number formats and in its mode. batch: questions a
    forward pass; in fp32 it changes nothing beyond rounding. Questions are sorted before they are batched, so that a
    score does not depend on the order of the file, only on the questions in it. chat: whether the question is the
    user's turn of the tokenizer's chat template, and a choice all of the assistant's, without the space that otherwise
    precedes it; programs are completed without a template. execute: runs programs; without it none is written, and
    those questions are not run. new_tokens: the longest response in tokens.

    Columns: `benchmark`; `item`; `right`: the choice of the greatest log-likelihood is the right one (lm-eval's `acc`),
    an answer without other choices is what greedy decoding gives, or the program passed its test. (`acc_norm` would not
    do: `right` is the sign of `margin`, and both are about the probability that training on answers raises.)
    `right_norm`: by log-likelihood per character (`acc_norm`). `logprob`: log-likelihood in nats of the right answer
    after the question, for programs of the canonical solution. `length`: bytes of that answer as scored. `margin`:
    `logprob` less that of the best wrong choice, in nats. `chosen`: index of the choice of the greatest log-likelihood.
    `response`: the program's text after its prompt. `status`: "scored" for a choice; for a program "passed", "failed",
    "timed out" or "not run". What does not exist is missing (NA, NaN, or "" for the response), never 0 or wrong. Raises
    ValueError if a benchmark's questions are in no file and the hub may not be read; if a question does not fit the
    model's context; if `execute` returns another word than its three; if `batch` is below 1.
    """
    from repro.lm import harness

    if batch < 1:
        raise ValueError("batch is a count of questions, 1 or more")
    files = _files(benchmarks, folder, hub, {*MADE_HERE, *own})
    rows: list[Row] = []
    with harness.quiet():
        for benchmark in benchmarks:
            if benchmark in PROGRAMS:
                tasks = {SOLUTION: harness.own_task(f"repro_{benchmark}_solution", files)}
                if execute:
                    tasks[RESPONSE] = harness.own_task(f"repro_{benchmark}", files, max_gen_toks=new_tokens)
                samples = harness.run(model, tokenizer, tasks, batch=batch, chat=False)
                rows += _program_rows(benchmark, samples, execute)
            else:
                if benchmark in own:
                    tasks = {benchmark: harness.own_task(ANY, {"questions": files[benchmark]})}
                elif benchmark in OURS:
                    tasks = {benchmark: harness.own_task(benchmark, files)}
                else:
                    tasks = harness.shipped_tasks(benchmark, files.get(benchmark))
                samples = harness.run(model, tokenizer, tasks, batch=batch, chat=chat)
                rows += _choice_rows(benchmark, tasks, samples)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _files(benchmarks: Sequence[str], folder: Path, hub: bool, here: Collection[str]) -> dict[str, Path]:
    """The file of each benchmark; those read from the hub, which does not have what is made `here`, are left out."""
    files = {benchmark: folder / f"{benchmark}.jsonl" for benchmark in benchmarks}
    for benchmark, file in files.items():
        if not file.exists() and (not hub or benchmark in here):
            allowed = "" if benchmark in here else ", and the hub is not to be read (hub=True allows it)"
            raise ValueError(f"{benchmark}: there is no {file}{allowed}")
    return {benchmark: file for benchmark, file in files.items() if file.exists()}


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
    """The row of a question with choices, or with its answer alone; choices: their texts, without the delimiter."""
    target = sample["target"]
    right = choices.index(target) if isinstance(target, str) else int(target)
    logprobs = np.array([logprob for logprob, _ in sample["filtered_resps"]])
    if np.isnan(logprobs).any():  # argmax would choose the first of them
        raise FloatingPointError(f"a log-probability is not a number: {sample['doc_hash']}")
    length = len(sample["arguments"][right][1].encode())
    row: Row = {"logprob": logprobs[right], "length": length, "response": "", "status": "scored"}
    if len(choices) == 1:
        return row | {"right": sample["filtered_resps"][0][1]}
    chosen = int(logprobs.argmax())
    by_length = int((logprobs / [len(choice) for choice in choices]).argmax())
    margin = logprobs[right] - np.delete(logprobs, right).max()
    return row | {"right": chosen == right, "right_norm": by_length == right, "margin": margin, "chosen": chosen}


def _program_rows(benchmark: str, samples: Mapping[str, "Samples"], execute: Executor | None) -> list[Row]:
    """One row a problem, from the log of its canonical solution and, if there is one, of its response."""
    names: Counter[str] = Counter()
    rows = []
    for n, sample in enumerate(samples[SOLUTION]):
        row = {"benchmark": benchmark, "item": _item(benchmark, benchmark, sample, names)}
        row |= _choice(sample, [sample["target"]]) | {"right": None, "status": "not run"}
        rows.append(row | (_executed(samples[RESPONSE][n], execute) if execute else {}))
    return rows


def _executed(sample: Mapping[str, Any], execute: Executor) -> Row:
    document, response = sample["doc"], sample["filtered_resps"][0]
    program = sample["arguments"][0][0] + response
    outcome = execute(program, document["entry_point"], document["test"], document["prompt"])
    if outcome not in OUTCOMES:
        raise ValueError(f"a program's outcome is one of {', '.join(OUTCOMES)}, not {outcome!r}")
    return {"right": outcome == "passed", "response": response, "status": outcome}


def _item(benchmark: str, task: str, sample: Mapping[str, Any], names: Counter[str]) -> str:
    """A question's name: its own, or a hash of the question, after the subject or task that it belongs to."""
    document = sample["doc"]
    own = next((str(document[key]) for key in IDENTITIES if document.get(key) not in (None, "")), None)
    part = task if task != benchmark else document.get("subject", "")
    name = "/".join(filter(None, [part, own or sample["doc_hash"][:16]]))
    names[name] += 1
    return name if names[name] == 1 else f"{name}#{names[name]}"  # a question that is there twice
