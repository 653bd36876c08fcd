"""Every table of paper A, and those of our own study, as pandas Stylers.

The paper's numbers and ours go through the same code (`frames.Results`). Text is escaped; what does not exist is a
dash that says why under the pointer (never a zero); captions are left to the page. A 95% interval, where one is known,
stands under its value.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from repro.cmr import frames
from repro.cmr.frames import DomainResults, Results
from repro.laws import ratio_label
from repro.show.style import in_order
from repro.show.tables import DASH, Format, declared, listed, styled, two_lines, with_intervals
from repro.show.words import short_tokens

NOT_RUN = "not run or not printed"
LISTED = declared(__file__)


def model_shapes(frame: pd.DataFrame) -> Styler:
    """Table 1: a shape and its parameters for each size; from `Paper.shapes` or `Study.shapes`."""
    columns = ["hidden_size", "intermediate_size", "attention_heads", "layers", "vocabulary_size", "parameters"]
    columns += [column for column in frame if column == "tokens_per_parameter"]
    names = {column: column.replace("_", " ") for column in columns} | {"vocabulary_size": "vocabulary"}
    turned = frame.set_index("size")[list(names)].rename(columns=names).T
    turned.columns.name = "model size"
    return styled(turned, "{:,.0f}", NOT_RUN, index=True).format(
        short_tokens, subset=pd.IndexSlice[["parameters"], :], escape="html"
    )


def held_out(results: Results) -> Styler:
    """Table 2, a row for each loss and size: losses at the end of the run, the prediction of the ratio held out and
    its relative error, and the paper's own predictions, where there are any.
    """
    points, _, _, printed = results.held_out()
    losses, sizes = in_order(points["loss"]), in_order(points["size"])
    keys = pd.MultiIndex.from_product([losses, sizes], names=["loss", "size"])

    def values(rows: pd.DataFrame) -> pd.Series:
        return rows.set_index(["loss", "size"])["value"].astype(float).reindex(keys)

    known, out = (points[points["kind"] == kind] for kind in ("measured", "held out, measured"))
    ratios = sorted(set(known["ratio"]), reverse=True)
    rows = {f"R = {ratio_label(ratio)}": values(known[known["ratio"] == ratio]) for ratio in ratios}
    name = f"R = {ratio_label(out['ratio'].iloc[0])}" if len(out) else "held out"
    seen, guess = values(out), values(points[points["kind"] == "held out, predicted"])
    rows |= {f"{name}, measured": seen, f"{name}, predicted from the others": guess}
    percent = {"relative error": (guess / seen - 1) * 100}
    if printed is not None:
        theirs = printed.set_index("size").reindex(keys.get_level_values("size")).set_index(keys)
        rows[f"{name}, predicted in the paper"] = theirs["loss"]
        percent["relative error in the paper"] = (theirs["loss"] / seen - 1) * 100
        percent["difference as printed"] = theirs["printed_difference"]
    frame = pd.DataFrame(rows | percent).reset_index()
    forms: dict[str, Format] = {**dict.fromkeys(rows, "{:.4f}"), **dict.fromkeys(percent, "{:+.3f}%")}
    return styled(frame, {**forms, **{name: "{:.2f}%" for name in percent if "printed" in name}}, NOT_RUN, index=False)


def fit_quality(results: Results) -> Styler:
    """Table 3: mean squared error and R2 of Equation 6."""
    frame = results.fit_quality()
    named = frame.assign(ratio=[ratio_label(r) for r in frame["ratio"]])
    losses, sizes, metrics = (in_order(named[name]) for name in ("loss", "size", "metric"))
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
    """Table 4: Equation 6 by size and ratio, intervals under the pointer: in sight they would be most of the table."""
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
    return styled(wide[list(_EQUATION_6)].set_axis(columns, axis=1), _coefficient, NOT_RUN, index=True, notes=notes)


def _coefficient(value: float) -> str:
    """Five decimals, as the paper prints them, as long as any of them says something."""
    return f"{value:.5f}" if abs(value) < 10_000 else f"{value:,.0f}"


def _limit(value: float) -> str:
    """Three significant digits, without an exponent where the number is large."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# The columns that hold a critical ratio: what readers call it, and the name its interval goes by.
_DEFINITIONS = {"critical_ratio": ("by turning point", "turning"), "tolerance_ratio": ("by tolerance", "tolerance"),
                "both": ("both", "both")}  # fmt: skip


def _with_ends(frame: pd.DataFrame, column: str, ends: str) -> pd.Series:
    """Shares in percent, each with its interval below."""
    return with_intervals(frame[column], frame, ends, "{:.1%}", lambda end: f"{100 * end:.1f}")


def critical_shares(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Critical ratios with their intervals, for each of the definitions that the frame has; a bound is said to be one,
    and the interval of one run to be that.
    """
    shares = {}
    for column, (name, ends) in _DEFINITIONS.items():
        if column not in frame:
            continue
        texts = list(_with_ends(frame, column, ends))
        if f"{ends}_bound" in frame:
            bounds = [f"{bound} " if isinstance(bound, str) else "" for bound in frame[f"{ends}_bound"]]
            close = [", one run)" if runs == 1 else ")" for runs in frame.get("runs", [0] * len(frame))]
            rows = zip(bounds, texts, close, strict=True)
            texts = [bound + text.replace(")", end) if text else None for bound, text, end in rows]
        shares[name] = pd.Series(texts, frame.index, dtype=object)
    return shares


def critical_ratios(results: Results) -> Styler:
    """Table 5: Equation 8 by size and the critical mixture ratio at the end of training: of the paper, as its text
    prints it too; of ours, by both definitions, and the feasible ratios.
    """
    frame = results.critical_ratios()
    frame = frame.assign(**critical_shares(frame))
    if "feasible" in frame:
        frame["run"] = [", ".join(map(ratio_label, known)) or "none" for known in frame["feasible"]]
    return listed(frame, *LISTED["critical_ratios"])


def tolerances(results: DomainResults) -> Styler:
    """The largest ratio by tolerance at several tolerances, beside that by turning point."""
    frame = results.tolerances()
    beside = {"by turning point": frame.groupby("size")["critical_ratio"].first()}
    return _across(frame, "by tolerance", "\u03b5 = " + frame["epsilon"].map("{:g}".format), beside)


def multipliers(results: DomainResults) -> Styler:
    """The critical ratio by turning point at several Lagrange multipliers of Equation 27."""
    frame = results.multipliers()
    return _across(frame, "by turning point", "\u03bb = " + frame["lagrange"].map("{:g}".format), {})


def _across(frame: pd.DataFrame, definition: str, at: pd.Series, beside: Mapping[str, pd.Series]) -> Styler:
    """Critical ratios with their intervals, a row for each size and a column for each text ``at``; then ``beside``."""
    columns, sizes = in_order(at), in_order(frame["size"])
    wide = frame.assign(text=critical_shares(frame)[definition], at=at).pivot(index="size", columns="at", values="text")
    rows = wide.reindex(sizes).assign(**beside).reset_index()
    shown: dict[str, Format] = {**dict.fromkeys(columns, two_lines), **dict.fromkeys(beside, "{:.1%}")}
    return listed(rows, {"size": "model size", **shown}, "no ratio qualifies, or too few turn")


def differences(*results: DomainResults) -> Styler:
    """How many points critical ratios lie apart, with 95% intervals: from `frames.differences`."""
    frame = frames.differences(*results)
    apart = 100 * frame[["difference", "lower", "upper"]].rename(columns="d_{}".format)
    points = with_intervals(apart["d_difference"], apart, "d", "{:+.1f}", "{:+.1f}".format)
    return listed(frame.assign(points=points), *LISTED["differences"])


def learning_rates(frame: pd.DataFrame) -> Styler:
    """The critical ratios at each continual learning rate; from `Study.learning_rates`."""
    return listed(frame.assign(**critical_shares(frame)), *LISTED["learning_rates"])


def forecasts(frame: pd.DataFrame) -> Styler:
    """How forecasts of losses did; from `forecasts.summary`."""
    rows = frame.assign(tried=np.where(frame["tried"].astype(bool), "tried", "not tried"))
    return listed(rows, *LISTED["forecasts"])


def forecast_ratios(frame: pd.DataFrame) -> Styler:
    """Critical ratios as forecast, as they came, and as they were halfway; from a frame of `repro.cmr.forecasts`."""
    ends = {"low": "forecast_lower", "high": "forecast_upper", "came_low": "came_lower", "came_high": "came_upper"}
    rows = frame[frame["ratio"].isna()].rename(columns=ends)
    known = {name: _with_ends(rows, name, name) for name in ("forecast", "came")}
    return listed(rows.assign(**known), *LISTED["forecast_ratios"])


def exponents(frame: pd.DataFrame) -> Styler:
    """The critical ratio by turning point at several upper bounds of Equation 6's exponents."""
    return _across(frame, "by turning point", "exponents up to " + frame["bound"].map("{:g}".format), {})


def two_domains(first: Results, second: Results, distances: pd.DataFrame) -> Styler:
    """The critical ratios of the smallest size on two domains, beside their distances (columns corpus, distance)."""
    rows = pd.concat([results.critical_ratios()[:1] for results in (first, second)], ignore_index=True)
    rows["distance"] = rows["domain"].map(distances.set_index("corpus")["distance"])
    return listed(rows.assign(**critical_shares(rows)), *LISTED["two_domains"])


def turning_points(results: Results) -> Styler:
    """T0 by size and ratio, a dash where a trajectory does not turn; with an interval open above it may never turn."""
    frame = results.turning_points()
    texts = [_turn(*row) for row in frame[["t", "lower", "upper"]].itertuples(index=False)]
    frame = frame.assign(text=pd.Series(texts, frame.index, dtype=object))
    wide = frame.pivot(index="ratio", columns="size", values="text").reindex(columns=in_order(frame["size"]))
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
    if "ratio" in frame:
        frame = frame.assign(ratio=frame["ratio"].map(ratio_label, na_action="ignore"))
    columns, why = LISTED["runs"]
    return listed(frame, dict.fromkeys(map(str, frame), "") | dict(columns), why)


def corpora(frame: pd.DataFrame) -> Styler:
    """How much text each part of each corpus has; from `Study.corpora`."""
    return listed(frame, *LISTED["corpora"])


def excerpts(frame: pd.DataFrame) -> Styler:
    """How each corpus reads; from `Study.excerpts`."""
    return styled(frame, {}, "no text", index=False)


def sources(frame: pd.DataFrame) -> Styler:
    """Where each corpus comes from; from `Study.corpora`."""
    return listed(frame.drop_duplicates("corpus"), *LISTED["sources"])


def warnings(results: DomainResults) -> Styler:
    """What the analysis warned of."""
    return styled(pd.DataFrame({"warning": list(results.analysis.warnings) or ["none"]}), {}, "none", index=False)
