"""Numbers that the prose of the pages quotes, all of them taken from data: nothing is typed.

Each function returns names for ``display.glue``, every name for every study. What a number means, the pages say, in
sentences that hold for any run: the verdict is in the figure or table that they point at.
"""

import numpy as np
import pandas as pd

from repro.cmr import published
from repro.cmr.frames import RUN, DomainResults, Results
from repro.cmr.published import paper
from repro.cmr.study import Study
from repro.cmr.tables import count, critical_shares
from repro.laws import GENERAL_TOKEN_LAW
from repro.show.words import Facts, join, some

OFFSET_SIZE = "3.1B"  # the size whose fitted general loss begins above the others
NONE = "not known"


def scale(study: Study) -> Facts:
    """The note on how little the results of a study rest on: parameters, tokens, steps, items and seeds."""
    params, sizes = study.params, study.shapes()["parameters"]
    span = " to ".join(dict.fromkeys(map(count, (sizes.min(), sizes.max()))))
    steps = params.continual_tokens // (params.batch * params.sequence_length)
    alone = ", so that no interval holds what another seed would change" if len(params.seeds) == 1 else ""
    text = (
        f"{some(len(sizes), 'model')} of {span} parameters, "
        f"{count(params.pretrain_tokens)} tokens of pretraining, {count(params.continual_tokens)} of continual "
        f"pretraining in {some(steps, 'step')}; losses on {params.validation_sequences} held-out sequences of "
        f"{params.sequence_length} tokens; {some(len(params.seeds), 'seed')}{alone}"
    )
    return {"scale": text}


def corpora(parts: pd.DataFrame, distances: pd.DataFrame) -> Facts:
    """From `Study.corpora` and `Study.distances`. largest_share: of the general text that comes from one domain's
    source; dropped: near-duplicates of held-out documents, over all corpora.
    """
    rows = parts.set_index(["corpus", "part"])
    return {
        "general_tokens": count(rows.loc[("general", "training"), "tokens"]),
        "replay_tokens": count(rows.loc[("general", "replay"), "tokens"]),
        "general_epochs": float(rows["epochs"]["general", "training"]),
        "dropped": int(parts.drop_duplicates("corpus")["near_duplicates"].sum()),
        "largest_share": float(distances["share"].max()),
    }


def shapes(frame: pd.DataFrame) -> Facts:
    """From `Study.shapes`: the largest of ours and the smallest of the paper's, in parameters."""
    ours, theirs = frame["parameters"], paper.shapes()["parameters"]
    return {"largest_parameters": count(ours.max()), "papers_smallest": count(theirs.min())}


def pretraining(losses: pd.DataFrame) -> Facts:
    """From `Study.pretraining`; losses of a size are means over its seeds. falling: how many of the curves end lower
    than at the measurement before.
    """
    runs = losses.sort_values("tokens", kind="stable").groupby(["size", "seed"], sort=False)["general_loss"]
    sizes = losses["size"].unique()
    mean = runs.agg(["first", "last"]).groupby(level="size", sort=False).mean().reindex(sizes)
    return {
        "tokens": count(losses["tokens"].max()),
        "start_loss": float(mean["first"].mean()),
        "smallest": str(sizes[0]),
        "largest": str(sizes[-1]),
        "smallest_loss": float(mean["last"].iloc[0]),
        "largest_loss": float(mean["last"].iloc[-1]),
        "falling": f"{int(runs.apply(lambda run: run.iloc[-1] < run.iloc[-2:].iloc[0]).sum())} of {len(runs)}",
    }


def trade_off(results: DomainResults) -> Facts:
    """turned: how many trajectories rise and turn within their run. One that falls from the start does not count."""
    points = results.turning_points()
    inside = points[(points["status"] == "inside") & (points["t"] > 0)]
    return {"turned": f"{len(inside)} of {len(points)}"}


def ratio(results: DomainResults) -> Facts:
    """Mean absolute error in percent of the held-out ratio's loss, predicted from the others, over sizes, as text."""
    errors = held_out_errors(results.held_out().points).abs().groupby("loss").mean()
    return {f"{loss}_error": _text(errors.get(loss, np.nan), ".2g", "%") for loss in ("domain", "general")}


def held_out_errors(points: pd.DataFrame) -> pd.Series:
    """Relative error of the predicted ratio in percent, by size and loss."""
    keyed = points.set_index(["size", "loss"])
    guess = keyed.loc[keyed["kind"] == "held out, predicted", "value"]
    seen = keyed.loc[keyed["kind"] == "held out, measured", "value"]
    return ((guess / seen - 1) * 100).dropna().astype(float)


def tokens(results: DomainResults) -> Facts:
    """How well Equation 6 fits: medians over sizes and ratios. bounds: of the exponents of the general loss."""
    bound = GENERAL_TOKEN_LAW.nonlinear[0]
    return {
        **{f"{loss}_r2": _text(_r2(results, loss), ".3f") for loss in ("general", "domain")},
        **{f"printed_{loss}_r2": _r2(paper, loss) for loss in ("general", "domain")},
        "mse_factor": float(mse_factors("domain").median()),
        "bounds": f"{bound.low:g} and {bound.high:g}",
    }


def _r2(results: Results, loss: str) -> float:
    quality = results.fit_quality()
    return float(quality[(quality["metric"] == "R2") & (quality["loss"] == loss)]["value"].astype(float).median())


def _text(value: float, form: str, unit: str = "") -> str:
    return NONE if np.isnan(value) else format(value, form) + unit


def mse_factors(loss: str) -> pd.Series:
    """By how much each printed error of Equation 6 is too small for the printed R2, by size and ratio (Table 3)."""
    printed = paper.fit_quality()
    wide = printed[printed["loss"] == loss].pivot(index=["size", "ratio"], columns="metric", values="value")
    variance = paper.curves(RUN).groupby(["size", "ratio"])[loss].var(ddof=0)
    return (1 - wide["R2"]) * variance / wide["MSE"]


def published_ratio() -> Facts:
    """Mean absolute error of R = 1/4 predicted from Table 2, in percent: refit to its four other ratios, refit_interior
    to those below 1, printed_error of the printed predictions.
    """
    every, below = paper.held_out(), paper.held_out(among=(1 / 3, 1 / 2, 3 / 4))
    seen = every.points.query("kind == 'held out, measured'").set_index("size")["value"]
    printed = published.table("2").query("kind == 'predicted'").set_index("size")["loss"]
    refit, refit_interior = (float(held_out_errors(held.points).abs().mean()) for held in (every, below))
    error = float((printed / seen - 1).abs().mean() * 100)
    return {"refit": refit, "refit_interior": refit_interior, "printed_error": error}


def published_offsets() -> Facts:
    """How Table 4 begins and how far its coefficients go.

    offset_31b and offset_others: the fitted general increment at T = 1, nats per token, mean over ratios up to 1/2
    (and, of the others, over sizes); largest_alpha1 and its_s1: the largest factor of the domain law, and its exponent.
    """
    begins = paper.curves([1.0]).query("ratio <= 0.5").set_index("size")["general"]
    table = paper.coefficients()
    largest = table.iloc[int(table["alpha1"].abs().argmax())]
    return {
        "offset_31b": float(begins[OFFSET_SIZE].mean()),
        "offset_others": float(begins.drop(OFFSET_SIZE).mean()),
        "largest_alpha1": float(largest["alpha1"]),
        "its_s1": float(largest["s1"]),
    }


def critical(results: DomainResults) -> Facts:
    """by_size: the critical ratio by both conditions of each size, with its interval; tolerance_decides: at how many
    of the sizes that have both ratios, and different ones, the tolerance is what limits it.
    """
    rows = results.critical_ratios()
    binds = results.tolerances([results.epsilon])["binds"].dropna()
    return {
        "epsilon": results.epsilon,
        "by_size": join(f"{size}: {share}" for size, share in zip(rows["size"], _by_both(rows), strict=True)),
        "tolerance_decides": f"{int((binds == 'tolerance').sum())} of {len(binds)} sizes",
    }


def _by_both(frame: pd.DataFrame) -> list[str]:
    """The critical ratio by both conditions of each row of `Results.critical_ratios`, as the tables write it."""
    return [text.replace("\n", " ") if isinstance(text, str) else NONE for text in critical_shares(frame)["both"]]


def second(first: DomainResults, other: DomainResults, distances: pd.DataFrame) -> Facts:
    """The smallest model on two domains, nearer and farther from the general text, by ``distances`` (columns corpus,
    distance).
    """
    rows = pd.concat([results.critical_ratios()[:1] for results in (first, other)], ignore_index=True)
    away = rows["domain"].map(distances.set_index("corpus")["distance"])
    told = zip(rows["domain"], away, _by_both(rows), strict=True)
    (near, near_distance, near_share), (far, far_distance, far_share) = sorted(told, key=lambda each: each[1])
    return {
        "near": str(near),
        "far": str(far),
        "near_distance": float(near_distance),
        "far_distance": float(far_distance),
        "near_share": near_share,
        "far_share": far_share,
        "printed_near": published.critical_ratio("460M", "academic"),
        "printed_far": published.critical_ratio("460M"),
    }
