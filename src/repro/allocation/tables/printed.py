"""Tables as paper B prints them: Table 6, other models, and what the text says of drift."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from repro.allocation import published
from repro.show.tables import Format, styled
from repro.show.words import FRACTION, between, short_tokens

NOT_PRINTED = "not printed"
PUBLISHED = "as published, not run here"
_TOKENS = {"total_tokens": "tokens in total", "cpt_tokens": "CPT tokens", "sft_tokens": "SFT tokens"}


def printed_scores() -> Styler:
    """Table 6 as printed, in percent, with the SFT tokens that its fractions leave."""
    printed = published.table("6")
    shares = {name: 100 / which.out_of * printed[which.column] for name, which in published.BENCHMARKS.items()}
    table = pd.DataFrame({
        "SFT tokens": published.sft_tokens(printed["cpt_fraction"], published.value("budget")).map(short_tokens),
        "CPT fraction": printed["cpt_fraction"],
        **{f"{name} (%)": share for name, share in shares.items()},
    })  # fmt: skip
    formats: dict[str, Format] = {"CPT fraction": FRACTION, **{f"{name} (%)": "{:.2f}" for name in shares}}
    return styled(table, formats, NOT_PRINTED, index=False)


def other_models() -> Styler:
    """Table 5: published scores of other models, none of them run here, and by how much the paper's split is higher.

    The difference is given in points and relative to the other model: what the abstract calls an 11.6% improvement over
    Code Llama is one of points.
    """
    rows = published.table("5")
    ours = rows[rows["model"] == "Our Split"].set_index("benchmark")["score"]
    own = rows["benchmark"].map(ours).mask(rows["model"] == "Our Split")
    table = pd.DataFrame({
        ("model", "domain"): rows["domain"],
        ("model", "name"): rows["model"].replace("Our Split", "the paper's split"),
        **{(PUBLISHED, title): rows[column].replace("N/A", None) for column, title in _TOKENS.items()},
        (PUBLISHED, "benchmark"): rows["benchmark"],
        (PUBLISHED, "score (%)"): rows["score"],
        ("the paper's split is higher by", "points"): own - rows["score"],
        ("the paper's split is higher by", "relative"): own / rows["score"] - 1,
    })  # fmt: skip
    formats = dict(zip(table.columns[-3:], ("{:.1f}", "{:+.1f}", "{:+.1%}"), strict=True))
    return styled(table, formats, "not printed, or the paper's split itself", index=False)


def printed_drift(frame: pd.DataFrame | None = None) -> Styler:
    """Drift as far as the text has numbers of it (Figures 2 and 3 print none); from `published.drift`."""
    rows = published.drift() if frame is None else frame
    table = pd.DataFrame({
        "domain": rows["domain"], "models": rows["models"], "category of data": rows["category"],
        "between CPT fractions": between(rows["cpt_from"], rows["cpt_to"], "{:g}".format),
        "drift": [f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in zip(rows["low"], rows["high"], strict=True)],
        "where": rows["where"],
    })  # fmt: skip
    return styled(table, {}, "said of all fractions", index=False)
