"""Every table of paper A, and those of our own study, as pandas Stylers.

The paper's numbers and ours go through the same code (`frames.Results`). Text is escaped; what does not exist is a
dash that says why under the pointer (never a zero); captions are left to the page. A 95% interval, where one is known,
stands under its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.cmr.frames import DomainResults, Results
from repro.laws import ratio_label
from repro.show.style import in_order
from repro.show.tables import DASH, Format, styled, two_lines, with_intervals

NOT_RUN = "not run or not printed"


def count(number: Any) -> str:
    """A large number as readers say it: 461.6M, 1.58B, 12.3k."""
    if abs(number) >= 999_500_000:
        return f"{number / 1e9:.2f}B"
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def model_shapes(frame: pd.DataFrame) -> Styler:
    """Table 1: a shape and its parameters for each size; from `Paper.shapes` or `Study.shapes`."""
    names = {
        "hidden_size": "hidden size",
        "intermediate_size": "intermediate size",
        "attention_heads": "attention heads",
        "layers": "layers",
        "vocabulary_size": "vocabulary",
        "parameters": "parameters",
    }
    turned = frame.set_index("size")[list(names)].rename(columns=names).T
    turned.columns.name = "model size"
    styler = styled(turned, "{:,.0f}", NOT_RUN, index=True)
    return styler.format(count, subset=pd.IndexSlice[["parameters"], :], escape="html")


def held_out(results: Results) -> Styler:
    """Table 2: losses at the end of the run, the prediction of the ratio held out, and its relative error.

    The paper's own predictions, where there are any, are shown beside.
    """
    points, _, _, printed = results.held_out()
    losses, sizes = in_order(points["loss"]), in_order(points["size"])
    keys = [(loss, size) for loss in losses for size in sizes]
    known = points[points["kind"] == "measured"]
    rows: dict[str, list[float]] = {}
    for ratio in sorted(set(known["ratio"]), reverse=True):
        rows[f"R = {ratio_label(ratio)}"] = [_one(known[known["ratio"] == ratio], key) for key in keys]
    out = points[points["kind"] == "held out, measured"]
    name = f"R = {ratio_label(out['ratio'].iloc[0])}" if len(out) else "held out"
    seen = [_one(out, key) for key in keys]
    guess = [_one(points[points["kind"] == "held out, predicted"], key) for key in keys]
    rows[f"{name}, measured"], rows[f"{name}, predicted from the others"] = seen, guess
    error = [(g / s - 1) * 100 for g, s in zip(guess, seen, strict=True)]
    percent = {"relative error": error}
    if printed is not None:
        by_size = printed.set_index("size")
        rows[f"{name}, predicted in the paper"] = [_at(by_size, size, "loss") for _, size in keys]
        own = rows[f"{name}, predicted in the paper"]
        percent["relative error in the paper"] = [(g / s - 1) * 100 for g, s in zip(own, seen, strict=True)]
        percent["difference as printed"] = [_at(by_size, size, "printed_difference") for _, size in keys]
    columns = pd.MultiIndex.from_tuples(keys, names=["loss", "size"])
    if len(losses) == 1:
        columns = pd.Index(sizes, name=f"{losses[0]} loss")
    frame = pd.DataFrame.from_dict(rows | percent, orient="index", columns=columns)
    styler = styled(frame, "{:.4f}", NOT_RUN, index=True)
    slices = {
        "relative error": "{:+.3f}%",
        "relative error in the paper": "{:+.3f}%",
        "difference as printed": "{:.2f}%",
    }
    for row in percent:
        styler = styler.format(slices[row], subset=pd.IndexSlice[[row], :], na_rep=DASH, escape="html")
    return styler


def _one(points: pd.DataFrame, key: tuple[str, str]) -> float:
    found = points.loc[(points["loss"] == key[0]) & (points["size"] == key[1]), "value"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _at(frame: pd.DataFrame, row: str, column: str) -> float:
    return float(frame[column].get(row, float("nan")))


def fit_quality(results: Results) -> Styler:
    """Table 3: mean squared error and R2 of Equation 6."""
    frame = results.fit_quality()
    named = frame.assign(ratio=[ratio_label(r) for r in frame["ratio"]])
    losses, sizes, metrics = in_order(named["loss"]), in_order(named["size"]), in_order(named["metric"])
    ratios = [ratio_label(r) for r in sorted(set(frame["ratio"]), reverse=True)]
    wide = named.pivot(index=["metric", "ratio"], columns=["loss", "size"], values="value")
    rows = pd.MultiIndex.from_product([metrics, ratios], names=["", "R"])
    wide = wide.reindex(index=rows, columns=pd.MultiIndex.from_product([losses, sizes], names=["loss", "size"]))
    styler = styled(wide, "{:.4f}", NOT_RUN, index=True)
    errors = [metric for metric in metrics if metric == "MSE"]
    return styler.format("{:.2e}", subset=pd.IndexSlice[errors, :], na_rep=DASH, escape="html")


_EQUATION_6 = {
    "alpha1": ("domain", "\u03b11"), "s1": ("domain", "s1"), "beta1": ("domain", "\u03b21"),
    "alpha2": ("general", "\u03b12"), "s2": ("general", "s2"), "alpha3": ("general", "\u03b13"),
    "s3": ("general", "s3"), "beta2": ("general", "\u03b22"),
}  # fmt: skip


def coefficients(results: Results) -> Styler:
    """Table 4: Equation 6 by size and ratio.

    Intervals are given under the pointer: beside the numbers they would be most of the table.
    """
    frame = results.coefficients()
    first = {size: place for place, size in enumerate(in_order(frame["size"]))}
    frame = frame.iloc[np.lexsort((-frame["ratio"], frame["size"].map(first)))]  # largest ratio first, as printed
    wide = frame.assign(R=[ratio_label(r) for r in frame["ratio"]]).set_index(["size", "R"])
    columns = pd.MultiIndex.from_tuples(list(_EQUATION_6.values()))
    notes = None
    if any(f"{name}_lower" in wide for name in _EQUATION_6):
        notes = pd.DataFrame({
            name: [f"95% interval: {_limit(a)} to {_limit(b)}" for a, b in zip(wide[low], wide[high], strict=True)]
            for name, low, high in ((name, f"{name}_lower", f"{name}_upper") for name in _EQUATION_6)
        }).set_axis(wide.index).set_axis(columns, axis=1)  # fmt: skip
    shown = wide[list(_EQUATION_6)].set_axis(columns, axis=1)
    return styled(shown, _coefficient, NOT_RUN, index=True, notes=notes)


def _coefficient(value: float) -> str:
    """Five decimals, as the paper prints them, as long as any of them says something."""
    return f"{value:.5f}" if abs(value) < 10_000 else f"{value:,.0f}"


def _limit(value: float) -> str:
    """Three significant digits, without an exponent where the number is large."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# The columns that hold a critical ratio: what readers call it, and the name its interval goes by.
_DEFINITIONS = {
    "critical_ratio": ("by turning point", "turning"),
    "tolerance_ratio": ("by tolerance", "tolerance"),
    "both": ("both", "both"),
}


def _shares(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Critical ratios with their intervals, for each of the definitions that the frame has."""
    return {
        name: with_intervals(frame[column], frame, ends, "{:.1%}", lambda end: f"{100 * end:.1f}")
        for column, (name, ends) in _DEFINITIONS.items()
        if column in frame
    }


def critical_ratios(results: Results) -> Styler:
    """Table 5: Equation 8 by size and the critical mixture ratio at the end of training.

    Of the paper, as its text prints it too; of ours, by both definitions, and the feasible ratios.
    """
    frame = results.critical_ratios()
    law = {"size": "model size", "alpha4": "\u03b14", "s4": "s4", "beta3": "\u03b23"}
    shares = _shares(frame)
    rows = frame[list(law)].rename(columns=law).assign(**shares)
    formats: dict[str, Format] = {**dict.fromkeys(rows.columns[1:4], "{:.4f}"), **dict.fromkeys(shares, two_lines)}
    if "feasible" in frame:
        rows["feasible of those run"] = [", ".join(map(ratio_label, known)) or "none" for known in frame["feasible"]]
    if "printed" in frame:
        rows["as printed"], formats["as printed"] = frame["printed"], "{:.1%}"
    return styled(rows, formats, "too few turning points for the law, or no ratio qualifies", index=False)


def tolerances(results: DomainResults) -> Styler:
    """The largest ratio by tolerance at several tolerances, beside that by turning point."""
    frame = results.tolerances()
    ratio = with_intervals(frame["tolerance_ratio"], frame, "tolerance", "{:.1%}", lambda end: f"{100 * end:.1f}")
    wide = frame.assign(text=ratio, at="\u03b5 = " + frame["epsilon"].map("{:g}".format))
    columns = in_order(wide["at"])
    shown = wide.pivot(index="size", columns="at", values="text").reindex(in_order(frame["size"]))[columns]
    shown["by turning point"] = frame.groupby("size")["critical_ratio"].first()
    shown = shown.rename_axis(index="model size", columns=None).reset_index()
    formats: dict[str, Format] = {**dict.fromkeys(columns, two_lines), "by turning point": "{:.1%}"}
    return styled(shown, formats, "no ratio qualifies, or too few turn", index=False)


def two_domains(first: Results, second: Results, distances: pd.DataFrame) -> Styler:
    """The critical ratios of the smallest size on two domains, beside their distances from the general text.

    distances: columns corpus, distance.
    """
    rows = pd.concat([results.critical_ratios()[:1] for results in (first, second)], ignore_index=True)
    frame = rows.assign(distance=rows["domain"].map(distances.set_index("corpus")["distance"]))
    names = {"domain": "domain", "size": "model size", "distance": "distance from general text"}
    known = _shares(frame)
    formats: dict[str, Format] = {"distance": "{:.3f}", **dict.fromkeys(known, two_lines)}
    why = "does not exist within the horizon, or was not measured"
    return _renamed(frame[list(names)].assign(**known), names, formats, why)


def turning_points(results: Results) -> Styler:
    """T0 by size and ratio; a trajectory that does not turn has a dash.

    An interval that is open above says that the curve may never turn.
    """
    frame = results.turning_points()
    texts = [_turn(*row) for row in frame[["t", "lower", "upper"]].itertuples(index=False)]
    frame = frame.assign(text=pd.Series(texts, frame.index, dtype=object))
    wide = frame.pivot(index="ratio", columns="size", values="text")
    wide = wide.reindex(columns=in_order(frame["size"]))
    wide.index = pd.Index([ratio_label(r) for r in wide.index], name="R")
    return styled(wide, two_lines, "general loss does not turn within the horizon, or was not run", index=True)


def _turn(t: float, low: float, high: float) -> str | None:
    """A turning point and its interval; of a curve that does not turn, from where on it may."""
    if low != low:
        return f"{t:.1f}" if t == t else None
    if t != t:
        return f"never\n(from {low:.1f})" if low < float("inf") else "never"
    return f"{t:.1f}\n({low:.1f} to {high:.1f})" if high < float("inf") else f"{t:.1f}\n({low:.1f} to never)"


def runs(frame: pd.DataFrame) -> Styler:
    """The runs of a study: columns size, parameters, tokens, seconds and any others (stage, ratio, ...)."""
    names = {"size": "model size", "ratio": "R"}
    shown = frame.assign(ratio=frame["ratio"].map(ratio_label, na_action="ignore")) if "ratio" in frame else frame
    formats: dict[str, Format] = {"parameters": count, "tokens": count, "seconds": "{:,.1f}"}
    return _renamed(shown, names, formats, "does not apply to this run")


def corpora(frame: pd.DataFrame) -> Styler:
    """How much text each part of each corpus has; from `Study.corpora`."""
    formats: dict[str, Format] = {"documents": "{:,.0f}", "tokens": count, "epochs": "{:.2f}"}
    rows = frame[["corpus", "part", *formats]]
    return _renamed(rows, {"epochs": "epochs used"}, formats, "does not apply to this corpus")


def sources(frame: pd.DataFrame) -> Styler:
    """Where each corpus comes from; from `Study.corpora`."""
    rows = frame.drop_duplicates("corpus")[["corpus", "sources", "licences"]]
    return _renamed(rows, {}, {}, "does not apply to this corpus")


def _renamed(frame: pd.DataFrame, names: Mapping[str, str], formats: Mapping[str, Format], why: str) -> Styler:
    """The columns under readers' names; where there is none, underscores become spaces."""
    shown = {column: names.get(column, str(column).replace("_", " ")) for column in frame.columns}
    there = {shown[column]: form for column, form in formats.items() if column in frame}
    text = frame.reset_index(drop=True).rename(columns=shown)
    return styled(text, there, why, index=False)
