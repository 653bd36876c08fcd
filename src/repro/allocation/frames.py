"""From scores to the frames that figures and tables of paper B draw. The paper's own scores are the default."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from repro.allocation import published
from repro.laws.allocation import Allocation, analyse_allocation, best_fraction
from repro.laws.allocation.scores import with_errors

Analyses = Mapping[str, Allocation]
OTHERS = ("25B", "35B")


def analyses(bootstrap: int = 1000, seed: int = 0) -> dict[str, Allocation]:
    """Equation 1 fitted to each benchmark of Table 6, with Equation 2 for 25B and 35B tokens."""
    predict = [published.BUDGETS[name] for name in OTHERS]
    return {
        str(name): analyse_allocation(
            rows.drop(columns=["benchmark", "cpt_fraction"]),
            budget=published.value("budget"),
            bootstrap=bootstrap,
            seed=seed,
            predict=predict,
        )
        for name, rows in published.scores().groupby("benchmark", sort=False)
    }


def points(found: Analyses) -> pd.DataFrame:
    """The scores fitted: benchmark, sft_tokens, cpt_fraction, score, low, high, n_items."""
    return pd.concat(
        [with_errors(one.points.drop(columns="seed")).assign(benchmark=name) for name, one in found.items()],
        ignore_index=True,
    )


def curves(found: Analyses) -> pd.DataFrame:
    """Equation 1 with its 95% band: benchmark, sft_tokens, cpt_fraction, score, low, high."""
    drawn = [one.curve().assign(benchmark=name) for name, one in found.items()]
    return pd.concat(drawn, ignore_index=True).rename(columns={"lower": "low", "upper": "high"})


def optima(found: Analyses) -> pd.DataFrame:
    """The peak of each benchmark, NaN where there is none.

    Columns benchmark; sft_tokens, low, high; cpt_fraction, cpt_low, cpt_high; printed_fraction, printed_tokens (the
    paper's peak of that domain); highest_score (the CPT fraction with the highest score).
    """
    rows = []
    for name, one in found.items():
        best, printed = one.optimum, published.peak(name)
        (low, high), (cpt_low, cpt_high) = (ends or (np.nan, np.nan) for ends in (best.interval, best.cpt_interval))
        rows.append({
            "benchmark": name,
            "sft_tokens": best.sft_tokens, "low": low, "high": high,
            "cpt_fraction": best.cpt_fraction, "cpt_low": cpt_low, "cpt_high": cpt_high,
            "printed_fraction": printed, "printed_tokens": (1 - printed) * one.budget,
            "highest_score": float(one.points["cpt_fraction"].iloc[int(one.points["score"].argmax())]),
        })  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.astype({"sft_tokens": float, "cpt_fraction": float})


def flatness(found: Analyses) -> pd.DataFrame:
    """Whether scores differ at all: benchmark, items, error (standard error of a score), statistic, df, p_value."""
    rows = []
    for name, one in found.items():
        score, items = one.points["score"].mean(), float(one.points["n_items"].iloc[0])
        error = float(np.sqrt(score * (1 - score) / items))
        test = one.flatness
        rows.append({
            "benchmark": name, "items": items, "error": error,
            "statistic": test.statistic, "df": test.df, "p_value": test.p_value,
        })  # fmt: skip
    return pd.DataFrame(rows)


def rivals(found: Analyses) -> pd.DataFrame:
    """Equation 1 beside a flat line and a quadratic: benchmark, law, parameters, criterion, delta_aicc, loo.

    criterion: what delta_aicc is a difference of, "AIC" or "QAICc" (:func:`repro.laws.comparison.compare`).
    """
    columns = ["benchmark", "law", "parameters", "criterion", "delta_aicc", "loo"]
    frames = [one.alternatives.assign(benchmark=name, criterion=one.criterion) for name, one in found.items()]
    return pd.concat(frames, ignore_index=True)[columns]


def budgets(found: Analyses) -> pd.DataFrame:
    """Equation 2 against what was tested (Table 4), in CPT fractions and in SFT tokens.

    Two rows for each budget, by ``source``: the paper's printed peak, and Equation 1 refitted to HumanEval.

    Columns budget, source; predicted, low, high (CPT fractions; the interval for the refit only), printed (the
    prediction as printed), tested (the best fraction tested); predicted_tokens, tested_tokens; error (tested minus
    predicted, in fraction), token_error (tested over predicted SFT tokens, minus 1). NaN where there is no peak.
    """
    one, fraction = found[published.CODING], published.peak(published.CODING)
    tokens = (1 - fraction) * one.budget
    rows = []
    for name, refit in zip(OTHERS, one.predictions, strict=True):
        by_peak = best_fraction(published.BUDGETS[name], tokens)
        low, high = refit.interval or (np.nan, np.nan)
        rows += [
            {"budget": name, "source": "printed peak", "predicted": by_peak, "low": np.nan, "high": np.nan},
            {"budget": name, "source": "refitted peak", "predicted": refit.cpt_fraction, "low": low, "high": high},
        ]
    frame = pd.DataFrame(rows).astype({"predicted": float})
    size = frame["budget"].map(published.BUDGETS)
    frame["printed"] = [published.value(f"predicted_{name}") for name in frame["budget"]]
    frame["tested"] = [published.value(f"observed_{name}") for name in frame["budget"]]
    frame["predicted_tokens"] = (1 - frame["predicted"]) * size
    frame["tested_tokens"] = (1 - frame["tested"]) * size
    frame["error"] = frame["tested"] - frame["predicted"]
    frame["token_error"] = frame["tested_tokens"] / frame["predicted_tokens"] - 1
    return frame


def tested(found: Analyses) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table 4 as `figures.budgets` draws it.

    Returns:
        points: budget (as "25B"), cpt_fraction, sft_tokens, score, low, high. marks: budget, mark ("predicted" from the
        printed peak, "tested best"), cpt_fraction, sft_tokens.

    """
    names = {tokens: name for name, tokens in published.BUDGETS.items()}
    scores = with_errors(published.other_budgets())
    scores = scores.assign(budget=scores["budget"].map(names))
    rows = budgets(found).query("source == 'printed peak'")
    marks = [
        pd.DataFrame({
            "budget": rows["budget"], "mark": mark,
            "cpt_fraction": rows[column], "sft_tokens": rows[f"{column}_tokens"],
        })
        for mark, column in (("predicted", "predicted"), ("tested best", "tested"))
    ]  # fmt: skip
    return scores, pd.concat(marks, ignore_index=True)
