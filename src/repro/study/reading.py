"""What a study reads, before anything trains: its files, models, texts and pairs, counted, and samples in tokens."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from repro.data.corpora import STATISTICS, TRAINING, VALIDATION, read_statistics, read_texts
from repro.output import safe
from repro.params import ParamsError
from repro.params.values import PREPARING
from repro.runs.spec import Stage, closure
from repro.stages.lora import Cpt, Sft
from repro.stages.texts import PLACES, Base, PairTokens, Tokenizer, Tokens, encoded_pairs
from repro.stages.training import Continue, Pretrain
from repro.study.base import BaseStudy

WIDEST = 100  # characters of a column
SHOWN, BEFORE = 24, 12  # tokens of a sample; of a prompt, before its answer
SEQUENCES = ("sequence_length", "validation_sequences"), ("cpt_length", "held_out_sequences")  # of either paper
CONTEXT = "max_position_embeddings"


def preparing(stages: Iterable[Stage]) -> list[Stage]:
    """The stages, among these and all they build on, that only get text, pairs and models ready."""
    return [stage for stage in closure(list(stages)) if stage.kind in PREPARING]


def read(study: BaseStudy, *, whole: bool = False) -> dict[str, pd.DataFrame]:
    """Get a study's text, pairs and models ready, and say what they are: models, `texts`, `pairs`; if `whole`, also
    files, and samples in tokens, before and with a loss. Raises StudyFailed if that fails; ParamsError, naming the
    parameter, if a text is too short.
    """
    study.run(preparing(study.stages))
    models = [_model(study, stage) for stage in closure(list(study.stages)) if isinstance(stage, Base | Pretrain)]
    found: dict[str, Any] = {"models": models, "texts": texts(study), "pairs": pairs(study)}
    if whole:
        found |= {"files": {"file": study.check_data(whole=False)}, "samples": list(_samples(study))}
    return {name: pd.DataFrame(rows).drop(columns="stage", errors="ignore") for name, rows in found.items()}


def shown(reading: Mapping[str, pd.DataFrame]) -> str:
    """What is read, as tables for people."""
    options: dict[str, Any] = {"index": False, "float_format": "{:.2f}".format, "na_rep": "", "max_colwidth": WIDEST}
    tables = (f"{name}\n{frame.to_string(**options)}" for name, frame in reading.items() if len(frame))
    return safe("\n\n".join(tables), keep="\n")


def texts(study: BaseStudy) -> list[dict[str, Any]]:
    """One row per text and part: stage (its `Tokens`), name, part, documents, characters, tokens, epochs (how often the
    most demanding run goes through it; NaN for held-out text), sources. ParamsError if it is too short for a sequence.
    """
    taken, given, rows = _taken(study.stages), study.params.model_dump(), []
    length, least = next(names for names in SEQUENCES if names[0] in given)
    for stage in (stage for stage in closure(list(study.stages)) if isinstance(stage, Tokens)):
        counts, lengths = (read_statistics(study.file(one, STATISTICS)) for one in (stage.text, stage))
        kept = pd.DataFrame(counts.get("text", counts)["kept"]).groupby("part", sort=False)
        for part, row in kept[["documents", "characters"]].sum().iterrows():
            tokens, held = lengths[f"{part} tokens"], part == VALIDATION
            needed = given[least] if held else (stage, part) in taken
            if (windows := max(tokens - 1, 0) // given[length]) < needed:
                raise ParamsError(
                    f"{least if held else length}: the {part} part of the {stage.text.label} has {tokens} tokens, "
                    f"{windows} sequences of {given[length]} ({length}), and must have {needed:d}"
                )
            named = {"stage": stage, "name": stage.text.name, "part": part, **row, "tokens": tokens}
            epochs = np.nan if held else taken.get((stage, part), 0) / tokens
            rows.append(named | {"epochs": epochs, "sources": "; ".join(source.label for source in stage.text.sources)})
    return rows


def _taken(stages: Iterable[Stage]) -> dict[Any, float]:
    """The tokens that the most demanding run takes of each part of a text, by text and part."""
    most: dict[Any, float] = {}
    for run in (run for run in closure(list(stages)) if isinstance(run, Pretrain | Continue | Cpt)):
        tokens = run.whole_tokens if isinstance(run, Cpt) else run.training.whole_tokens
        shares: list[Any] = [(run.tokens, TRAINING, 1)] if isinstance(run, Pretrain) else []
        if isinstance(run, Continue):
            shares = [(run.domain, TRAINING, run.ratio), (run.mixed, run.replayed, 1 - run.ratio)]
        elif isinstance(run, Cpt):
            shares = [(run.domain, TRAINING, 1 - run.replay_share), (run.replay, TRAINING, run.replay_share)]
        most |= {(text, part): max(float(share * tokens), most.get((text, part), 0)) for text, part, share in shares}
    return most


def pairs(study: BaseStudy) -> list[dict[str, Any]]:
    """One row per set of pairs: stage (its `PairTokens`), name, kept, too_long (for `sft_longest`), ambiguous,
    duplicate, given_away (they would teach a question that is asked), tokens, epochs (as of texts, by the mean length).
    """
    runs, rows = [run for run in closure(list(study.stages)) if isinstance(run, Sft)], []
    sets = dict.fromkeys(stage for run in runs for stage in (run.pairs, run.replay))
    ends = {stage: np.load(study.file(stage, PLACES))[:, 0] for stage in sets}
    for stage in sets:
        seen = [0.0]
        for run in (run for run in runs if stage in (run.pairs, run.replay)):
            of = {run.replay: float(run.replay_share), run.pairs: float(1 - run.replay_share)}
            mean = sum(share * ends[each][-1] / len(ends[each]) for each, share in of.items())
            seen.append(of[stage] * (run.steps * run.training.batch if run.steps else run.tokens / mean))
        told, kept = read_statistics(study.file(stage.material, STATISTICS)), len(ends[stage])
        left = told["dropped"]
        rows.append({
            "stage": stage, "name": stage.name, "kept": kept, "too_long": told["pairs"] - kept,
            "ambiguous": left["ambiguous"], "duplicate": left["repeated"], "tokens": ends[stage][-1],
            "given_away": left["pairs"] + left["pairs_of_choices"], "epochs": max(seen) / kept,
        })  # fmt: skip
    return rows


def _model(study: BaseStudy, model: Base | Pretrain) -> dict[str, Any]:
    """Its name, what its configuration says, and its tokenizer's special tokens with their ids."""
    if isinstance(model, Base):
        config = json.loads(study.file(model, "config.json").read_text())
    else:
        config = {CONTEXT: model.training.length, "vocab_size": model.vocabulary, "dtype": "float32"}
    coder = _tokenizer(study, model if isinstance(model, Base) else model.tokens.tokenizer)
    return {
        "name": getattr(model, "name", model.size), "parameters": model.parameters, "context": config.get(CONTEXT),
        "vocabulary": config.get("vocab_size"), "dtype": config.get("dtype", config.get("torch_dtype")),
        **{kind: f"{name} ({coder.convert_tokens_to_ids(name)})" for kind, name in coder.special_tokens_map.items()},
    }  # fmt: skip


def _tokenizer(study: BaseStudy, of: Base | Tokenizer) -> Any:
    from repro.lm.sequences import load_tokenizer

    # Of a model only this file is asked for: its weights may have been freed.
    return load_tokenizer(study.file(of, "config.json").parent if isinstance(of, Base) else study.finished(of))


def _samples(study: BaseStudy) -> Iterator[dict[str, str]]:
    """The first document of each text, and the first of each set of pairs near the beginning of its answer."""
    from repro.lm.sequences import EncodedPair, encode

    for stage in (stage for stage in closure(list(study.stages)) if isinstance(stage, Tokens | PairTokens)):
        coder = _tokenizer(study, stage.tokenizer)
        if isinstance(stage, PairTokens):
            sample = encoded_pairs(study.finished(stage))[0]
        else:
            text = next(read_texts(study.file(stage.text, STATISTICS).parent, TRAINING))
            sample = EncodedPair(encode([text], coder, stage.dtype), answer=0)
        answer = sample.tokens[sample.answer :][:SHOWN]
        prompt = sample.tokens[max(sample.answer - BEFORE, 0) : sample.answer]
        before, after = ("│".join(safe(coder.decode([token])) for token in part.tolist()) for part in (prompt, answer))
        yield {"sample": stage.label, "before": before, "with_loss": after}
