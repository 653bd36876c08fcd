"""Numbers that the prose of the pages glues, all of them taken from data. What they mean, pages and claims say."""

import pandas as pd

from repro.cmr.published import paper
from repro.cmr.study import Study
from repro.cmr.tables import count
from repro.show.words import Facts, some

OFFSET_SIZE = "3.1B"  # the size whose fitted general loss begins above the others


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
        "replay_tokens": count(
            rows.loc[("general", "replay" if ("general", "replay") in rows.index else "training"), "tokens"]
        ),
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
