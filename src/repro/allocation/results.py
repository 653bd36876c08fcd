"""From what runs leave to frames: scores, comparisons question by question, contents of domains, losses, drift."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.weightstats import DescrStatsW

from repro.allocation.design import Trial
from repro.data.build import PAIRS
from repro.data.corpora import TRAINING, VALIDATION
from repro.data.domains import MADE_HERE
from repro.lm.evaluation import PROGRAMS
from repro.stages.evaluate import FIXED, HeldOut
from repro.stages.lora import Cpt, Sft
from repro.stages.texts import Material

ACCURACY, LIKELIHOOD = "accuracy", "log-likelihood"
METRICS = (ACCURACY, LIKELIHOOD)
KEYS = ["kind", "domain", "budget", "cpt_tokens", "sft_tokens", "seed"]
FOUR_CHOICES = (*MADE_HERE, "medqa_4options", "chembench4k", "mmlu", "hellaswag")
TITLES = {  # of benchmarks, as readers say them
    "hpo_terms": "medical terms", "elements": "chemical elements", "python_docstrings": "Python functions",
    "wikipedia_titles": "encyclopaedia titles", "humaneval": "HumanEval", "humaneval_plus": "HumanEval+",
    "medqa_4options": "MedQA", "chembench4k": "ChemBench4K", "mmlu": "MMLU", "hellaswag": "HellaSwag",
}  # fmt: skip
AWAY = "gives a question away, or is about one of its choices"
FEWEST_TOKENS = 100  # below, drift is mostly noise
_COMPARED = [
    "name", "benchmark", "metric", "first", "second", "items", "both", "only_first", "only_second", "difference", "low",
    "high", "p_value",
]  # fmt: skip


def chance(benchmark: str) -> float | None:
    """What guessing scores by accuracy; None where that is not known. A name may end in its domain: "mmlu, health"."""
    name = benchmark.split(",")[0]
    name = next((task for task, title in TITLES.items() if title == name), name)
    return 0.25 if name in FOUR_CHOICES else 0.0 if name in PROGRAMS else None


def scores(items: pd.DataFrame) -> pd.DataFrame:
    """One row for each trial, benchmark and metric: `KEYS`, benchmark, metric, score, se, n_items.

    accuracy: share of questions answered rightly, with its binomial standard error; log-likelihood: of the right
    answer, in nats for each of its bytes, a mean over questions with its standard error. A benchmark that was not run
    has no score.
    """
    rows: list[dict[str, Any]] = []
    for key, part in items.groupby([*KEYS, "benchmark"], sort=False, dropna=False):
        head = dict(zip([*KEYS, "benchmark"], key, strict=True))
        for metric in METRICS:
            values = per_item(part, metric).dropna()
            score, count = float(values.mean()), len(values)
            variance = score * (1 - score) if metric == ACCURACY else float(values.var(ddof=1))
            se = float(np.sqrt(variance / count)) if count else np.nan
            rows.append(head | {"metric": metric, "score": score, "se": se, "n_items": count})
    return pd.DataFrame(rows)


def per_item(items: pd.DataFrame, metric: str) -> pd.Series:
    """What each question contributes to a metric; NaN where it was not run."""
    if metric == ACCURACY:
        return items["right"].astype("Float64").astype(float)
    return items["logprob"] / items["length"]


def matrix(items: pd.DataFrame, benchmark: str, metric: str) -> pd.DataFrame:
    """A metric, a row for each trial (by `KEYS`) and a column for each question that all trials were asked."""
    part = items[items["benchmark"] == benchmark]
    part = part.assign(value=per_item(part, metric))
    return part.pivot(index=KEYS, columns="item", values="value").dropna(axis="columns")


def compare(
    items: pd.DataFrame, metric: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], str]]
) -> pd.DataFrame:
    """Two trials question by question, for each of `pairs`: (first, second, name of the comparison).

    Columns name, benchmark, metric, first, second (scores), items, both, only_first, only_second, difference (second
    less first), low, high (95%), p_value: for right answers McNemar's exact test and Bonett and Price's interval; for
    log-likelihoods a paired t test (statsmodels) and its interval.
    """
    rows = []
    for first, second, name in pairs:
        ours, theirs = (items[(items[[*where]] == pd.Series(where)).all(axis=1)] for where in (first, second))
        for benchmark in ours["benchmark"].unique():
            a, b = (
                per_item(frame[frame["benchmark"] == benchmark].set_index("item"), metric).dropna()
                for frame in (ours, theirs)
            )
            shared = a.index.intersection(b.index)
            if len(shared) > 1:
                head = {"name": name, "benchmark": benchmark, "metric": metric}
                rows.append(head | _paired(a[shared], b[shared], metric))
    return pd.DataFrame(rows, columns=_COMPARED)


def _paired(first: pd.Series, second: pd.Series, metric: str) -> dict[str, float]:
    change = (second - first).to_numpy(float)
    row = {"items": len(change), "difference": float(change.mean())}
    row |= {"first": float(first.mean()), "second": float(second.mean())}
    if metric == ACCURACY:
        return row | _mcnemar(first.astype(bool), second.astype(bool))
    if np.ptp(change) == 0:  # then there is no spread to make an interval from
        return dict.fromkeys(_COMPARED[5:], np.nan) | row
    stats = DescrStatsW(change)
    low, high = stats.tconfint_mean()
    return row | {"low": float(low), "high": float(high), "p_value": float(stats.ttest_mean()[1])}


def _mcnemar(first: pd.Series, second: pd.Series) -> dict[str, float]:
    both, lost, won = int((first & second).sum()), int((first & ~second).sum()), int((~first & second).sum())
    table = [[both, lost], [won, len(first) - both - lost - won]]
    p_value = float(mcnemar(table, exact=True).pvalue)
    # Bonett and Price (2012): Wald's interval with half an answer added to each of the four kinds, which holds the
    # difference as often as it says even where few questions are answered differently.
    count = len(first) + 2
    gain, loss = (won + 1) / count, (lost + 1) / count
    half = norm.ppf(0.975) * np.sqrt((gain + loss - (gain - loss) ** 2) / count)
    low, high = float(max(gain - loss - half, -1)), float(min(gain - loss + half, 1))
    return {"both": both, "only_first": lost, "only_second": won, "low": low, "high": high, "p_value": p_value}


def contents(counts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What domains hold: domain, part, items, characters (NaN but for text), dropped (how many items), why, epochs (how
    often the run that takes most goes through it; NaN where none trains on it). counts: of `repro.data.build`, with
    "epochs" of the text and "tuned", a row of `repro.study.reading.pairs`, where known.
    """
    rows = [(name, *row, None)[:7] for name, part in counts.items() for row in _parts(part)]  # None: of no epochs
    return pd.DataFrame(rows, columns=["domain", "part", "items", "characters", "dropped", "why", "epochs"])


def _parts(statistics: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    text, dropped, asked = statistics["text"], statistics["dropped"], pd.Series(statistics["questions"]).rename(TITLES)
    kept = pd.DataFrame(text["kept"]).groupby("part")[["documents", "characters"]].sum()
    tuned = statistics.get("tuned", ())
    training, held_out = ([*map(int, kept.loc[part])] for part in (TRAINING, VALIDATION))
    return [
        ("CPT text", *training, dropped["documents"] + dropped["documents_of_choices"], AWAY, statistics.get("epochs")),
        ("CPT text, held out", *held_out, text["near_duplicates"], "near-duplicates of it, from the CPT text"),
        ("SFT pairs", statistics["pairs"], np.nan, dropped["pairs"] + dropped["pairs_of_choices"], AWAY),
        *(
            ("SFT pairs, tuned on", p["kept"], np.nan, p["too_long"], "longer than sft_longest", p["epochs"])
            for p in tuned
        ),
        *((f"questions, {name}", int(count), np.nan, 0, "") for name, count in asked.items()),
        ("items in all", statistics["items"], np.nan, dropped["ambiguous"], "one prompt with two answers"),
    ]


def examples(materials: Iterable[tuple[Material, Path]]) -> pd.DataFrame:
    """The first pair and question of each benchmark, by domain: domain, use, prompt, answer, others."""
    rows = []
    for stage, folder in materials:
        pair = pq.read_table(folder / PAIRS, columns=["prompt", "answer"]).slice(0, 1).to_pylist()[0]
        rows.append({"domain": stage.name, "use": "SFT", **pair, "others": ""})
        for name in stage.benchmarks:
            file = folder / f"{name}.jsonl"
            if file.is_file():
                question = pd.read_json(file, lines=True, nrows=1, dtype=False).iloc[0]
                rows.append({"domain": stage.name, "use": TITLES.get(name, name), **_question(question)})
    return pd.DataFrame(rows)


def _question(row: Any) -> dict[str, str]:
    if "choices" not in row:
        return {"prompt": row["prompt"], "answer": row["canonical_solution"], "others": ""}
    others = [choice for place, choice in enumerate(row["choices"]) if place != row["answer"]]
    return {"prompt": row["question"], "answer": row["choices"][row["answer"]], "others": "; ".join(others)}


def held_out(frames: Iterable[tuple[HeldOut, int, pd.DataFrame]]) -> pd.DataFrame:
    """Losses along CPT, means over seeds: domain, tokens, corpus ("domain, held out" | "general, held out"), loss,
    change since the base model, se (of that over sequences, paired by sequence; 0 at the base).
    """
    runs: dict[tuple[str, int], list[pd.DataFrame]] = {}
    for stage, tokens, frame in frames:
        runs.setdefault((stage.domain.text.name, tokens), []).append(frame)
    means = {place: sum(losses[1:], losses[0]) / len(losses) for place, losses in runs.items()}
    rows = []
    for (domain, tokens), frame in means.items():
        change = frame - means[domain, 0]
        for name in ("domain", "general"):
            se = change[name].std(ddof=1) / np.sqrt(len(change))
            rows.append((domain, tokens, f"{name}, held out", frame[name].mean(), change[name].mean(), se))
    found = pd.DataFrame(rows, columns=["domain", "tokens", "corpus", "loss", "change", "se"])
    return found.sort_values(["domain", "corpus", "tokens"], kind="stable", ignore_index=True)


def phases(frames: Sequence[pd.DataFrame], estimator: str, by: str = "sft_tokens") -> pd.DataFrame:
    """Figure 3: domain, ``by``, phase, drift (a mean over layers), low, high (of the layers, least and most); with
    ``by`` "layer" (0: the first compared) all three are over allocations.
    """
    if not frames:
        return pd.DataFrame(columns=["domain", by, "phase", "drift", "low", "high"])
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[(rows["estimator"] == estimator) & (rows["sample"] == FIXED)]
    grouped = rows.groupby(["domain", by, "phase"], sort=False)["drift"]
    return grouped.agg(drift="mean", low="min", high="max").reset_index()


def between(frames: Sequence[pd.DataFrame], estimator: str) -> pd.DataFrame:
    """Figure 2: domain, model, sft_from, sft_to, category, drift (a mean over layers), tokens, at.

    at: the geometric mean of the two allocations' SFT tokens, half the fewest standing in for none.
    A category with fewer than `FEWEST_TOKENS` tokens of data between two allocations has no row.
    """
    columns = ["domain", "model", "sft_from", "sft_to"]
    if not frames:
        return pd.DataFrame(columns=[*columns, "category", "at", "drift", "tokens"])
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[rows["estimator"] == estimator].rename(columns={"sample": "category"})
    grouped = rows.groupby([*columns, "category"], sort=False)
    means = grouped.agg(drift=("drift", "mean"), tokens=("tokens", "first")).reset_index()
    means = means[means["tokens"] >= FEWEST_TOKENS].reset_index(drop=True)
    least = means.loc[means["sft_to"] > 0, "sft_to"].min()
    lower = means["sft_to"].where(means["sft_to"] > 0, (least if least == least else means["sft_from"]) / 2)
    return means.assign(at=np.sqrt(means["sft_from"] * lower))


def tuning(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Training losses of SFT, in stretches of steps twice as long as the last: domain, cpt_tokens, step, loss.

    step is the last one of the stretch, loss the mean over it, in nats per token of the answers. Of runs with the same
    CPT only the longest is kept: the others are its beginning.
    """
    longest: dict[Any, pd.DataFrame] = {}
    for frame in frames:
        key = tuple(frame[["domain", "cpt_tokens"]].iloc[0])
        if key not in longest or len(frame) > len(longest[key]):
            longest[key] = frame
    rows = []
    for (domain, cpt), frame in longest.items():
        stretch = np.log2(frame["step"].to_numpy(float)).astype(int)
        for _, part in frame.groupby(stretch):
            place = {"domain": domain, "cpt_tokens": cpt, "step": int(part["step"].iloc[-1])}
            rows.append(place | {"loss": float(part["loss"].mean())})
    return pd.DataFrame(rows, columns=["domain", "cpt_tokens", "step", "loss"])


def tokens(
    trials: Sequence[Trial], trained: Callable[[Cpt | Sft], int], seconds: Callable[[Cpt | Sft], float]
) -> pd.DataFrame:
    """Tokens trained with shared beginnings, and by training every trial from the base model: phase, trained, naive;
    seconds that training took.

    trained: the tokens that a finished run took in all, those of the run it went on from among them. Runs of fixed
    steps, whose tokens are not a budget's, are left out.
    """
    distinct = {trial.model.key: trial for trial in trials if trial.kind != "fixed steps"}.values()
    phases: dict[str, list[Cpt | Sft]] = {
        "CPT": [trial.before for trial in distinct if isinstance(trial.before, Cpt)],
        "SFT": [trial.model for trial in distinct if isinstance(trial.model, Sft)],
    }
    rows = []
    for phase, runs in phases.items():
        once = list({run.key: run for run in runs}.values())
        new = sum(trained(run) - (trained(run.after) if run.after else 0) for run in once)
        took = sum(map(seconds, once))
        rows.append({"phase": phase, "trained": new, "naive": sum(map(trained, runs)), "seconds": took})
    return pd.DataFrame(rows)
