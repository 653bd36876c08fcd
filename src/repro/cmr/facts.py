"""Numbers that the prose of the pages glues, all of them taken from data. What they mean, pages and claims say."""

import pandas as pd

from repro.cmr.frames import T_MAX, Results
from repro.cmr.published import paper
from repro.cmr.study import Study
from repro.cmr.tables import critical_shares
from repro.laws import ratio_label
from repro.show.words import Facts, short_tokens, some

OFFSET_SIZE = "3.1B"  # the size whose fitted general loss begins above the others


def scale(study: Study) -> Facts:
    """The note on how little the results of a study rest on: parameters, tokens, steps, items and seeds."""
    params, sizes = study.params, study.shapes()["parameters"]
    span = " to ".join(dict.fromkeys(map(short_tokens, (sizes.min(), sizes.max()))))
    steps = params.continual_tokens // (params.batch * params.sequence_length)
    alone = ": intervals do not include how much another seed would differ" if len(params.seeds) == 1 else ""
    text = (
        f"{some(len(sizes), 'model')} of {span} parameters, "
        f"{short_tokens(params.pretrain_tokens)} tokens of pretraining, {short_tokens(params.continual_tokens)} of "
        f"continual pretraining in {some(steps, 'step')}; losses on {params.validation_sequences} held-out sequences "
        f"of {params.sequence_length} tokens; {some(len(params.seeds), 'seed')}{alone}"
    )
    return {"scale": text}


def corpora(parts: pd.DataFrame, distances: pd.DataFrame) -> Facts:
    """From `Study.corpora` and `Study.distances`. largest_share: of the general text that comes from one domain's
    source; dropped: near-duplicates of held-out documents, over all corpora; most_read: the domain read most often.
    """
    rows = parts.set_index(["corpus", "part"])
    replay = ("general", "replay" if ("general", "replay") in rows.index else "training")
    domains = parts[(parts["corpus"] != "general") & (parts["part"] == "training")].set_index("corpus")["epochs"]
    return {
        "general_tokens": short_tokens(rows.loc[("general", "training"), "tokens"]),
        "replay_tokens": short_tokens(rows.loc[replay, "tokens"]),
        "replay_epochs": float(rows["epochs"][replay]),
        "most_read": str(domains.idxmax()),
        "most_epochs": float(domains.max()),
        "general_epochs": float(rows["epochs"]["general", "training"]),
        "dropped": int(parts.drop_duplicates("corpus")["near_duplicates"].sum()),
        "largest_share": float(distances["share"].max()),
    }


def offsets() -> Facts:
    """Mean fitted general increment at T = 1 over ratios up to 1/2, of one size and of the others, nats per token."""
    begins = paper.curves([1.0]).query("ratio <= 0.5").set_index("size")["general"]
    others = begins.drop(OFFSET_SIZE)
    return {"offset_31b": float(begins[OFFSET_SIZE].mean()), "offset_others": float(others.mean())}


def disguised() -> Facts:
    """The logarithm in the paper's Table 4: the largest factor of its domain law, and the exponent beside it."""
    table = paper.coefficients()
    largest = table.iloc[int(table["alpha1"].abs().argmax())]
    return {"largest_alpha1": float(largest["alpha1"]), "its_s1": float(largest["s1"])}


def rises(results: Results, of: str) -> Facts:
    """How far the general loss stands above its start at the end, nats per token: <of>_least and <of>_most over the
    sizes at the largest ratio below 1, which is <of>_ratio; <of>_alone_least and <of>_alone_most at the largest of all.
    """
    ends = results.curves([T_MAX]).groupby(["size", "ratio"])["general"].last()  # the law there, or the last point
    ends = ends.groupby("ratio").agg(least="min", most="max")
    mixed, alone = ends[ends.index < 1].tail(1), ends.tail(1)
    mixed = mixed if len(mixed) else alone
    known = zip((of, f"{of}_alone"), (mixed, alone), strict=True)
    found = {f"{name}_{end}": float(rows[end].iloc[0]) for name, rows in known for end in ("least", "most")}
    return found | {f"{of}_ratio": ratio_label(float(mixed.index[0]))}


def critical(results: Results, of: str) -> Facts:
    """The critical ratios of the smallest and the largest size, with their intervals, in words."""
    shares = critical_shares(results.critical_ratios())
    return {
        f"{of}_{name.split()[-1]}_{size}": (texts.iloc[place] or "not known").replace("\n", " ")
        for name, texts in shares.items() for size, place in (("smallest", 0), ("largest", -1))
    }  # fmt: skip


def forecast(printed: pd.DataFrame, ahead: pd.DataFrame) -> Facts:
    """From frames of `repro.cmr.forecasts`. near_ and far_min and _max: errors of the paper's general loss beyond a
    half, with replay and without. Of ours, by loss: _all, how many, _low, how many were forecast too low, and median
    errors, _error, and _rival of no change, in words (nats).
    """
    errors = (printed["forecast"] - printed["came"]).abs()[printed["what"] == "general loss"]
    parts = {"near": errors[printed["ratio"] < 1], "far": errors[printed["ratio"] == 1]}
    found: Facts = {
        f"{name}_{end}": float(getattr(part, end)()) for name, part in parts.items() for end in ("min", "max")
    }
    for loss in ("domain", "general"):
        mine = ahead[ahead["what"] == f"{loss} loss"]
        off = {name: mine[column] - mine["came"] for name, column in (("error", "forecast"), ("rival", "halfway"))}
        found |= {
            f"{loss}_{name}": f"{away.abs().median():.3f}" if away.notna().any() else "unknown"
            for name, away in off.items()
        }
        found |= {f"{loss}_all": len(mine), f"{loss}_low": int((off["error"] < 0).sum())}
    return found
