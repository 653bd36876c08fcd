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
    before = short_tokens(params.pretrain_tokens) if study.design.pretraining else "no"
    alone = ": intervals do not include how much another seed would differ" if len(params.seeds) == 1 else ""
    text = (
        f"{some(len(sizes), 'model')} of {span} parameters, "
        f"{before} tokens of pretraining, {short_tokens(params.continual_tokens)} of "
        f"continual pretraining in {some(steps, 'step')}; losses on {params.validation_sequences} held-out sequences "
        f"of {params.sequence_length} tokens; {some(len(params.seeds), 'seed')}{alone}"
    )
    return {"scale": text}


def corpora(parts: pd.DataFrame, distances: pd.DataFrame) -> Facts:
    """From `Study.corpora` and `Study.distances`. largest_share: of the general text that comes from one domain's
    source; dropped: near-duplicates of held-out documents, over all corpora.
    """
    rows = parts.set_index(["corpus", "part"])
    replay = ("general", "replay" if ("general", "replay") in rows.index else "training")
    return {
        "general_tokens": short_tokens(rows.loc[("general", "training"), "tokens"]),
        "replay_tokens": short_tokens(rows.loc[replay, "tokens"]),
        "replay_epochs": float(rows["epochs"][replay]),
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
    """General loss at the end above its start, nats: <of>_least and _most over the sizes at <of>_ratio, the largest
    below 1, and <of>_alone_least and _most at the largest of all.
    """
    last = results.curves([T_MAX]).groupby(["size", "ratio"])["general"].last()  # the law there, or the last point
    ends = last.groupby("ratio").agg(["min", "max"])
    mixed, alone = max((r for r in ends.index if r < 1), default=ends.index[-1]), ends.index[-1]
    names = (f"{of}_{end}" for end in ("least", "most", "alone_least", "alone_most"))
    return dict(zip(names, ends.loc[[mixed, alone]].to_numpy().ravel().tolist(), strict=True)) | {
        f"{of}_ratio": ratio_label(mixed)
    }


def critical(results: Results, of: str) -> Facts:
    """The critical ratios of the smallest and the largest size, with their intervals, in words."""
    shares = critical_shares(results.critical_ratios())
    return {
        f"{of}_{name.split()[-1]}_{size}": (texts.iloc[place] or "not known").replace("\n", " ")
        for name, texts in shares.items() for size, place in (("smallest", 0), ("largest", -1))
    }  # fmt: skip
