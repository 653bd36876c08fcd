"""lm-eval on a model in memory, leaving all as it was; a prompt is read once, not once for every choice."""

import functools
import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task
import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from repro.lm import benchmarks as known
from repro.lm.tasks.local import read

# Decoders with full attention, in which the mask alone decides which token sees which.
FULL_ATTENTION = frozenset({"llama", "mistral"})

Request = tuple[tuple[str, str], list[int], list[int]]

Samples = list[dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """A prompt and what may follow it, as token ids; `requests` are the places of the choices among lm-eval's."""

    prompt: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    requests: tuple[int, ...]

    @property
    def tokens(self) -> list[tuple[int, int, int]]:
        """The prompt and all choices in one row, each without its last token, which predicts nothing. Of each token:
        its id, its position as if only its choice followed the prompt, and 0 for the prompt, 1 for the first choice...
        """
        rows = [self.prompt, *(choice[:-1] for choice in self.choices)]
        starts = [0, *[len(self.prompt)] * len(self.choices)]
        return [(token, starts[n] + place, n) for n, row in enumerate(rows) for place, token in enumerate(row)]

    @property
    def predicting(self) -> list[int]:
        """How many tokens at the row's end predict something: the prompt's last, and those of each choice."""
        return [1, *(len(choice) - 1 for choice in self.choices)]


class SharedPrompts(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """HFLM for a model in memory, silent and at less cost; its log-likelihoods are those of HFLM up to rounding. The
    choices of a question, of which the batch size counts, share one row: each sees the prompt and itself, at the
    positions it would have alone. If the model's attention is not known to follow a mask, each has its own row. What
    does not fit the context is an error.
    """

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:  # noqa: ARG002
        """Log-likelihood in nats, and whether greedy decoding gives it, of each continuation after its context."""
        scores: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return scores

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:  # noqa: ARG002
        """The continuation of each context; ValueError if it and the tokens to generate do not fit the model's."""
        for request in requests:
            context, settings = request.args
            self._must_fit(len(self.tok_encode(context)) + int(settings.get("max_gen_toks", self.max_gen_toks)))
        responses: list[str] = super().generate_until(requests, disable_tqdm=True)
        return responses

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = True, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        for _, prompt, choice in requests:
            self._must_fit(len(prompt) + len(choice) - 1)
        if not self._shares():
            scores: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
            return scores
        by_request: dict[int, tuple[float, bool]] = {}
        questions, size = _questions(requests), int(self.batch_size)
        for start in range(0, len(questions), size):
            by_request |= self._score(questions[start : start + size])
        return [by_request[n] for n in range(len(requests))]

    def _shares(self) -> bool:
        config = self.model.config
        full = config.model_type in FULL_ATTENTION and getattr(config, "sliding_window", None) is None
        return full and config._attn_implementation == "sdpa"

    def _must_fit(self, tokens: int) -> None:
        if tokens > self.max_length:
            raise ValueError(f"a question takes {tokens} tokens, but the model's context holds {self.max_length}")

    @torch.no_grad()
    def _score(self, batch: list[Question]) -> dict[int, tuple[float, bool]]:
        tokens = [torch.tensor(question.tokens, device=self.device) for question in batch]
        padded = pad_sequence(tokens, batch_first=True, padding_value=-1, padding_side="left")
        segments, (rows, positions) = padded[..., 2], padded[..., :2].clamp(min=0).unbind(-1)
        sizes = [sum(question.predicting) for question in batch]
        starts = rows.shape[1] - torch.tensor(sizes, device=self.device)
        with _only_at(self.model, torch.arange(rows.shape[1], device=self.device) >= starts[:, None]):
            logits = self.model(
                input_ids=rows, attention_mask=_mask(segments), position_ids=positions, use_cache=False
            ).logits[0]
        scores: dict[int, tuple[float, bool]] = {}
        for question, part in zip(batch, logits.split(sizes), strict=True):
            scores |= dict(zip(question.requests, _scores(question, part), strict=True))
        return scores


@contextmanager
def _only_at(model: PreTrainedModel, wanted: torch.Tensor) -> Iterator[None]:
    """Logits only of the tokens that the mask `wanted`, (n, L), names, as (1, wanted, vocabulary): the view that
    transformers' `logits_to_keep` gives makes a product in bf16 take twenty times as long.
    """
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][wanted][None],))
    try:
        yield
    finally:
        hook.remove()


def _questions(requests: list[Request]) -> list[Question]:
    """Requests of one prompt together, longest row first; the order does not depend on that of the requests."""
    places: dict[tuple[int, ...], list[int]] = {}
    for n, (_, prompt, _) in enumerate(requests):
        places.setdefault(tuple(prompt), []).append(n)
    questions = []
    for context, together in places.items():
        ordered = sorted(together, key=lambda n: requests[n][2])
        questions.append(Question(context, tuple(tuple(requests[n][2]) for n in ordered), tuple(ordered)))
    return sorted(questions, key=lambda question: (-len(question.tokens), question.prompt, question.choices))


def _mask(segments: torch.Tensor) -> torch.Tensor:
    """Which token (third axis) sees which (fourth), (n, 1, L, L), for segments of shape (n, L), -1 where padded: itself
    and what comes before it in the prompt and in its own choice. So does padding, as a row that allows nothing would
    give NaN.
    """
    length = segments.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    same = segments[:, :, None] == segments[:, None, :]
    prompt = (segments == 0)[:, None, :]
    return (before & (same | prompt))[:, None]


def _scores(question: Question, logits: torch.Tensor) -> list[tuple[float, bool]]:
    """The score of each choice from the logits of the tokens that predict something, (predicting, vocabulary)."""
    scores = []
    prompt, *choices = logits.split(question.predicting)
    for choice, predicting in zip(question.choices, choices, strict=True):
        rows = torch.cat([prompt, predicting]).float()
        wanted = torch.tensor(choice, device=rows.device)
        logprob = -float(functional.cross_entropy(rows, wanted, reduction="sum"))
        scores.append((logprob, bool((rows.argmax(dim=-1) == wanted).all())))
    return scores


def own_task(name: str, files: Mapping[str, Path], **generation: Any) -> Any:
    """A task of `repro/lm/tasks`; files: benchmark -> JSON lines. Questions without a file are on the hub. generation:
    what it says of the text to generate, changed.
    """
    metadata: dict[str, Any] = {"files": {name: str(path) for name, path in files.items()}}
    manager = TaskManager(include_defaults=False, include_path=str(known.TASKS), metadata=metadata)
    task = manager.load([name])["tasks"][name]
    if generation:
        task.set_config("generation_kwargs", generation, update=True)
    return task


def shipped_tasks(benchmark: str, file: Path | None) -> dict[str, Any]:
    """lm-eval's own tasks of a name, which may be that of a group; their questions from `file`, or None for the hub.
    Raises ValueError if lm-eval has no such task, `file` has no line for one of them, or one shows few-shot examples.
    """
    names = known.leaves(benchmark, known.tasks().task_index)
    wanted: list[Any] = list(names)
    if file is not None:
        rows = read(file)
        asking = [name for name in names if known.tasks().task_index[name].cfg.get("num_fewshot")]
        if asking:
            raise ValueError(f"{asking[0]} shows examples before the question, which {file} does not hold")
        wanted = [{"group": f"{benchmark} here", "task": [_override(name, benchmark, rows, file) for name in names]}]
    return dict(known.tasks().load(wanted)["tasks"])


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
    """Without progress bars and notices of lm-eval, datasets and transformers, but with errors. Python's random state
    is put back: lm-eval draws numbers for names of tasks that it does not use.
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
