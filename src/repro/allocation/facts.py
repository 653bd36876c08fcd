"""Numbers and phrases that the prose on paper B quotes, all of them taken from data: nothing is typed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from repro.allocation import published
from repro.allocation.frames import FEWEST
from repro.allocation.published import Paper
from repro.allocation.results import ACCURACY, AWAY, LIKELIHOOD
from repro.laws.allocation import NAME as EQUATION_1
from repro.lm.evaluation import PROGRAMS
from repro.params import AllocationParams
from repro.show.words import Facts, join

LEVEL = 0.05
SAME = 1.001  # intervals whose widths differ by less are equally wide
NOT_RUN = "this preset does not run it"
STEPS = "Total training steps"
MODES = {
    "continue": "goes on with CPT's adapter",
    "merge": "a new adapter, CPT's merged into the weights",
    "second": "a new adapter on top of CPT's, which is frozen",
}


def peaks(paper: Paper) -> Facts:
    """Whether there is a peak at all.

    verdict: on which benchmarks scores rise with SFT tokens, also after Holm's correction and without the fewest
    tokens, and whether a peak is shown, in words; peaks: the last of these; benchmarks: how many there are; widest,
    widest_name: the widest interval of a peak, as highest over lowest SFT tokens (0 and "none" without intervals), and
    whose it is; open_count: how many intervals reach the edge of the data.
    """
    optima, tests = paper.optima, paper.flatness
    columns = ("slope_p", "slope_p_holm", "slope_p_without")
    rise, still, later = (join(tests.loc[(tests["slope"] > 0) & (tests[c] <= LEVEL), "benchmark"]) for c in columns)
    peaks = _peaks(list(optima["benchmark"]), list(optima["peak_shown"]))
    best = optima.dropna(subset=["low", "high"]).set_index("benchmark")
    ratio = best["high"] / best["low"]
    verdict = (
        f"scores rise with SFT tokens on {rise or 'no benchmark'} (with Holm's correction: {still or 'none'}), but "
        f"without the allocation with the fewest on {later or 'none'} alone; {peaks}"
    )
    return {
        "verdict": verdict,
        "peaks": peaks,
        "benchmarks": len(optima),
        "widest": float(ratio.max()) if len(ratio) else 0.0,
        "widest_name": join(ratio.index[ratio >= ratio.max() / SAME]) or "none",
        "open_count": int(best["edge"].sum()),
    }  # fmt: skip


def budgets(paper: Paper) -> Facts:
    """Equation 2 against what was tested, for 25B and 35B tokens, from the printed peak.

    For each, by its ending _25B or _35B: predicted, tested (CPT fractions); predicted_tokens, tested_tokens (millions
    of SFT tokens); token_error (percent) and error (of the fraction).
    """
    facts: Facts = {"peak_tokens": (1 - published.peak(published.CODING)) * published.value("budget") / 1e6}
    for row in paper.predictions.query("source == 'printed peak'").to_dict("records"):
        facts |= _of(row)
    return facts


def _of(row: dict[Any, Any]) -> Facts:
    name = row["budget"]
    return {
        f"predicted_{name}": float(row["predicted"]),
        f"tested_{name}": float(row["tested"]),
        f"predicted_tokens_{name}": float(row["predicted_tokens"]) / 1e6,
        f"tested_tokens_{name}": float(row["tested_tokens"]) / 1e6,
        f"token_error_{name}": 100 * float(row["token_error"]),
        f"error_{name}": float(row["error"]),
    }


def material(contents: pd.DataFrame) -> Facts:
    """From `Study.materials`: questions, pairs and what the near-duplicate check dropped, of the first domain."""
    name = contents["domain"].iloc[0]
    mine = contents[contents["domain"] == name]
    away = contents[contents["why"] == AWAY]
    return {
        "domain": str(name),
        "pairs": int(mine.loc[mine["part"] == "SFT pairs", "items"].sum()),
        "questions": int(mine.loc[mine["part"].str.startswith("questions"), "items"].sum()),
        "dropped": join(f"{int(n):,} in {of}" for of, n in away.groupby("domain", sort=False)["dropped"].sum().items()),
    }


def domains(params: AllocationParams) -> str:
    """The domains in a phrase."""
    return join(domain.name for domain in params.domains)


def training(held_out: pd.DataFrame, tokens: pd.DataFrame) -> Facts:
    """From `Study.held_out` and `Study.tokens`: what CPT does to held-out losses, and what sharing saves."""
    last = held_out[held_out["domain"] == held_out["domain"].iloc[0]].sort_values("tokens", kind="stable")
    ends = last.groupby("corpus", sort=False).tail(1).set_index("corpus")
    facts: Facts = {"cpt_tokens": int(last["tokens"].max())}
    for corpus in ("domain", "general"):
        change, error = (float(ends.loc[f"{corpus}, held out", column]) for column in ("change", "se"))
        facts |= {f"{corpus}_change": change, f"{corpus}_se": error, f"{corpus}_verdict": _moved(change, error)}
    trained, naive = float(tokens["trained"].sum()), float(tokens["naive"].sum())
    return facts | {"trained": trained, "naive": naive, "saved": naive / trained if trained else 1.0}


def _moved(change: float, error: float) -> str:
    if abs(change) <= 2 * error:
        return "cannot be told from unchanged"
    return "falls" if change < 0 else "rises"


def scores(frame: pd.DataFrame) -> Facts:
    """From `results.scores`: where the base stands, and the best and the worst allocation of the first benchmark.

    The error is that of one score by the number of questions.
    """
    first = str(frame["benchmark"].iloc[0])
    rows = frame[(frame["benchmark"] == first) & (frame["metric"] == ACCURACY)].dropna(subset=["score"])
    base, mine = rows[rows["kind"] == "base"], rows[rows["kind"] == "allocation"]
    facts: Facts = {"benchmark": first, "base": "no score", "items": int(rows["n_items"].max()) if len(rows) else 0}
    facts |= {"error": "unknown", "range_words": "nowhere: there are none"}
    if len(base):
        facts["base"] = f"{base['score'].iloc[0]:.1%}"
    if len(mine):
        ordered = mine.sort_values("score", kind="stable")
        worst, best = ordered.iloc[0], ordered.iloc[-1]
        facts["error"] = f"{100 * float(mine['se'].max()):.1f} points"
        facts["range_words"] = (
            f"from {worst['score']:.1%} at {worst['sft_tokens']:,.0f} SFT tokens to {best['score']:.1%} at "
            f"{best['sft_tokens']:,.0f}"
        )
    return facts


def law(optima: pd.DataFrame, scores_: pd.DataFrame) -> Facts:
    """From `frames.optima` and `results.scores`: whether there is a peak, is inside, and whether scores differ."""
    count = len(scores_.dropna(subset=["score"])[["benchmark", "metric"]].drop_duplicates())
    if optima.empty:
        none = f"there is no fit: Equation 1 needs {FEWEST} allocations with SFT tokens, and scores"
        return {"peaks": none, "flat": "there is nothing to test", "laws": none, "fitted": "none"}
    names = [f"{row['benchmark']} by {row['metric']}" for row in optima.to_dict("records")]
    tests = list(zip(names, optima["p_value"], optima["slope_p"], strict=True))
    return {
        "peaks": _peaks(names, list(optima["peak_shown"])),
        "flat": _flat(tests),
        "laws": _laws(names, list(optima["preferred"])),
        "fitted": f"all {len(names)}" if len(names) == count else f"{len(names)} of {count}",
    }


def _flat(tests: list[tuple[str, float, float]]) -> str:
    flat = [name for name, p, slope_p in tests if p > LEVEL and not slope_p <= LEVEL]
    sloped = [name for name, p, slope_p in tests if p > LEVEL and slope_p <= LEVEL]
    differ = [name for name, p, _ in tests if p <= LEVEL]
    untested = [name for name, p, _ in tests if p != p]
    words = {
        "cannot be told from flat": flat,
        "change steadily with SFT tokens, though the test of equal scores sees no difference": sloped,
        "differ by more than the choice of questions explains": differ,
        "could not be tested": untested,
    }
    return "; ".join(f"{join(names)} {verdict}" for verdict, names in words.items() if names)


def _laws(names: list[str], preferred: list[str]) -> str:
    """Which law has the least AIC where; where the criterion is infinite there is nothing to compare."""
    words = []
    for law in dict.fromkeys(law for law in preferred if law):
        where = join(name for name, best in zip(names, preferred, strict=True) if best == law)
        words.append(f"{law.replace(EQUATION_1, 'Equation 1')} for {where}")
    without = [name for name, law in zip(names, preferred, strict=True) if not law]
    few = f"too few allocations to compare all laws for {join(without)}"
    return "; ".join([*words, *([few] if without else [])])


def _peaks(names: list[str], shown: list[bool]) -> str:
    found = [name for name, at in zip(names, shown, strict=True) if at]
    return f"a peak is shown for {join(found)} ({len(found)} of {len(names)})" if found else "no peak is shown"


def paired(pairs: pd.DataFrame) -> Facts:
    """From `results.compare`: what CPT does beside SFT alone, question by question.

    by_accuracy, by_likelihood: in how many comparisons the second is better or worse, with the smallest and the largest
    difference; words that go on "CPT is ...".
    """
    facts: Facts = {}
    metrics = (("accuracy", ACCURACY, "points", 100.0), ("likelihood", LIKELIHOOD, "nats a byte", 1.0))
    for name, metric, unit, scale in metrics:
        rows = pairs[pairs["metric"] == metric]
        if len(rows) == 0:
            facts[f"by_{name}"] = "not compared with these parameters"
            continue
        clear = rows["p_value"] < LEVEL
        better, worse = int((clear & (rows["difference"] > 0)).sum()), int((clear & (rows["difference"] < 0)).sum())
        low, high = scale * rows["difference"].min(), scale * rows["difference"].max()
        span = " to ".join(dict.fromkeys((f"{low:+.2f}", f"{high:+.2f}")))
        facts[f"by_{name}"] = f"better in {better}, worse in {worse} of {len(rows)} comparisons ({span} {unit})"
    return facts


def drift(phases: pd.DataFrame, between: pd.DataFrame, scores_: pd.DataFrame) -> Facts:
    """From `Study.drift`, `Study.ratio_drift` and `results.scores`: sizes, and whether drift goes with the score.

    Rank correlations are over the allocations of the first domain, so over few points.
    """
    phases, between = phases.dropna(subset=["drift"]), between.dropna(subset=["drift"])
    if phases.empty:
        return dict.fromkeys(("cpt_drift", "sft_drift", "correlation", "largest"), NOT_RUN)
    mine = phases[phases["domain"] == phases["domain"].iloc[0]]
    spans = {phase: f"{part['drift'].min():.4f} to {part['drift'].max():.4f}" for phase, part in mine.groupby("phase")}
    return {
        "cpt_drift": spans.get("base to CPT", NOT_RUN),
        "sft_drift": spans.get("CPT to SFT", NOT_RUN),
        "correlation": _correlation(mine, scores_),
        "largest": _largest(between),
    }


def drift_floor(params: AllocationParams, floor: pd.DataFrame) -> Facts:
    """From `Study.drift_floor`: what another seed alone does, and how many examples drift rests on, in words."""
    told = [f"{row['drift']:.4f} ({row['phase']})" for row in floor.to_dict("records")]
    count = (
        f"at most {params.drift_examples}"
        if params.drift_share is None
        else f"a random {float(params.drift_share):.0%}"
    )
    return {"floor": join(told) or NOT_RUN, "examples": params.drift_examples, "between_examples": count}


def _correlation(phases: pd.DataFrame, scores_: pd.DataFrame) -> str:
    rows = scores_[(scores_["kind"] == "allocation") & (scores_["metric"] == LIKELIHOOD)]
    rows = rows[rows["benchmark"] == scores_["benchmark"].iloc[0]].groupby("sft_tokens")["score"].mean()
    words = []
    for phase, part in phases.groupby("phase", sort=False):
        both = part.set_index("sft_tokens")["drift"].to_frame().join(rows, how="inner").dropna()
        if len(both) > 3 and np.ptp(both["score"]) > 0 and np.ptp(both["drift"]) > 0:
            result = spearmanr(both["drift"], both["score"])
            words.append(f"{float(result.statistic):+.2f} for {phase} ({len(both)} allocations)")
    return join(words) or "too few allocations to say"


def _largest(between: pd.DataFrame) -> str:
    if between.empty:
        return NOT_RUN
    rows = between[between["domain"] == between["domain"].iloc[0]]
    top: Any = rows.loc[rows["drift"].idxmax()]
    return (
        f"{top['drift']:.4f}, of {top['category']} in the models with {top['model']}, between "
        f"{top['sft_from']:,.0f} and {top['sft_to']:,.0f} SFT tokens"
    )


def printed_steps() -> str:
    """What the paper's printed steps amount to beside its printed budget."""
    table = published.table("A.2").set_index("aspect")["value"]
    number = {name: float(table[name].replace(",", "")) for name in ("Sequence length", "Global batch size", STEPS)}
    tokens, budget = float(np.prod(list(number.values()))), published.value("budget")
    return (
        f"{number[STEPS]:,.0f} steps of {number['Global batch size']:.0f} sequences of "
        f"{number['Sequence length']:,.0f} tokens are {tokens / 1e6:.1f} million tokens, "
        f"{budget / tokens:,.0f} times fewer."
    )


def recipes(params: AllocationParams) -> tuple[dict[str, str], dict[str, str]]:
    """The set-up of CPT and of SFT, aspect by aspect; an aspect is spelt as the tables spell it."""
    shared = {
        "Optimiser": "AdamW",
        "Weight decay": f"{params.weight_decay:g}",
        "LoRA dropout": "0.0",
        "Gradient clipping": f"Max norm {params.clip:g}",
        "Random seed": ", ".join(map(str, params.seeds)),
        "Precision": params.lora_precision,
    }
    cpt = {
        "Dataset": "; ".join(domain.name for domain in params.domains),
        "Sequence length": f"{params.cpt_length:,}",
        "Global batch size": f"{params.cpt_batch} sequences",
        "Total training steps": f"{params.budget // (params.cpt_batch * params.cpt_length):,} at most",
        "Learning rate": f"{params.cpt_lr:g} (constant)",
        "Learning rate schedule": f"Linear warmup (first {params.cpt_warmup_steps} steps)",
        "LoRA rank": f"{params.cpt_rank}",
        "LoRA scaling factor": f"{params.cpt_alpha}",
        "Replay": f"{float(params.lora_replay_share):.0%} of sequences are {params.replay.name}",
    }
    sft = {
        "Dataset": "pairs of each domain",
        "Sequence length": f"one pair, {params.sft_longest:,} at most",
        "Global batch size": f"{params.sft_batch} pairs",
        "Total training steps": "as many as the tokens allow",
        "Learning rate": f"{params.sft_lr:g} (constant)",
        "Learning rate schedule": f"Linear warmup (first {params.sft_warmup_steps} steps)",
        "LoRA rank": f"{params.sft_rank}",
        "LoRA scaling factor": f"{params.sft_alpha}",
        "Replay": f"{float(params.lora_replay_share):.0%} of pairs are {params.replay.name}",
        "Adapter": MODES[params.sft_adapter],
        "Prompt": "the model's chat template" if params.chat_template else "plain",
    }
    return cpt | shared, sft | shared


def execution(params: AllocationParams, not_executed: str) -> str:
    """A sentence on programs that models write; "" where no benchmark asks for any. not_executed: why they are not."""
    if not {name for domain in params.domains for name in domain.benchmarks} & set(PROGRAMS):
        return ""
    if not_executed:
        return f"Programs that models write were not executed (their benchmark is not run): {not_executed}."
    where = "without a sandbox, as was asked for" if params.unsafe_no_sandbox else "inside a sandbox"
    return f"Programs that models write were executed, {where}."


def left_out(params: AllocationParams, name: str, elsewhere: str = "desk") -> str:
    """A sentence for a part of a study that a preset may leave out, "" where it runs: "cpt_ablation" or so.

    elsewhere: a preset that runs it.
    """
    if getattr(params, name):
        return ""
    others = f"Others, such as \u201c{elsewhere}\u201d, do."
    return f"The parameters \u201c{params.preset}\u201d run none: {name} is empty. {others}"


def noise(params: AllocationParams) -> str:
    """A sentence on what the intervals of the law hold."""
    if len(params.seeds) == 1:
        return "there is one run of each allocation, so an interval does not hold what another order of data would do."
    return f"each allocation was run with {len(params.seeds)} seeds; where that is enough, they tell the errors."
