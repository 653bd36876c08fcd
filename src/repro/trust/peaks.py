"""How often a peak is claimed where there is none, and where there is one: by Equation 1 as it is tested here, and by a
plain least-squares fit of it.

Scores of 16 allocations are made up about curves that are flat, rise (in a straight line, up to a level, or off a
cliff), or have a peak; :class:`Peaks` makes some sets of one shape a stage.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy.optimize import OptimizeWarning, curve_fit
from statsmodels.stats.proportion import proportion_confint

from repro.laws.allocation.flatness import flatness
from repro.laws.allocation.law import allocation_law, draw, monotone_laws
from repro.laws.allocation.optimum import optimum
from repro.laws.allocation.peak import ASKED, against_monotone
from repro.laws.allocation.scores import Scores, checked
from repro.laws.inference import LEVEL
from repro.laws.law import Fit
from repro.laws.solver import Array
from repro.runs.spec import Stage, Work
from repro.show.tables import styled
from repro.show.words import Facts
from repro.trust.recovery import ALLOCATIONS, BUDGET, TOKENS, simulate_scores

PEAKS = "peaks.csv"
ITEMS = (164, 1273, 4100)  # of HumanEval, MedQA and ChemBench4K, as paper B's scores have them
SETS_A_STAGE = 50
OPERATIONS = 1e9  # a set: operations of training that take as long
NORMAL = 1.96
KINDS = {"tested": "peak shown here", "plain": "curve_fit: peak inside", "plain_interval": "and its interval"}

Shape = Literal["flat", "straight line in ln S", "saturating", "cliff", "peak"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


def curve(shape: Shape, tokens: Array, rng: np.random.Generator) -> Array:
    """A score at each of tokens (n,) > 0: 0.3 to 0.5, and 3 to 15 points more or less, without a peak.

    Saturating scores are half-way between a third of the fewest and a third of the most tokens.
    """
    logs = np.log(tokens)
    level, change, place = rng.uniform(0.3, 0.5), rng.uniform(0.03, 0.15), rng.uniform()
    share = (logs - logs[0]) / (logs[-1] - logs[0])
    s_min = 0.9 * place * tokens[0]
    parts = {
        "flat": 0 * share,
        "straight line in ln S": share,
        "saturating": 1 / (1 + np.exp(logs[0] + place * (logs[-1] - logs[0])) / 3 / tokens),
        "cliff": -(tokens[0] - s_min) / (tokens - s_min),
    }
    return np.asarray(level + change * parts[shape], dtype=float)


def claims(shape: Shape, items: int, sets: int, draws: int, seed: int = 0) -> pd.DataFrame:
    """``sets`` simulated studies of one shape: columns tested, plain, plain_interval (bool), a row for each.

    tested: whether the analysis shows a peak inside the range tried. plain: whether `curve_fit` of Equation 1 ends at a
    peak inside, with a finite standard error; plain_interval: whether its 95% interval lies inside as well. items: of
    each score; where ``shape`` is "peak", 1,000 to 4,000 instead, as :func:`simulate_scores` draws them.
    """
    rng = np.random.default_rng([seed, SHAPES.index(shape), items])
    tokens = np.geomspace(*TOKENS, ALLOCATIONS)
    studies = []
    for _ in range(sets):
        if shape == "peak":
            scores = simulate_scores(rng).scores
        else:
            right = rng.binomial(items, curve(shape, tokens, rng))
            scores = pd.DataFrame({"sft_tokens": tokens, "score": right / items, "n_items": items})
        studies.append(checked(scores, BUDGET))
    frame = pd.DataFrame([plain(data) for data in studies], columns=["plain", "plain_interval"])
    return frame.assign(tested=shown(studies, draws, seed))


def shown(studies: Sequence[Scores], draws: int, seed: int) -> list[bool]:
    """`Allocation.peak_shown` of studies at the same tokens, each of equal numbers of items: each condition is looked
    at only for those that meet the cheaper ones.
    """
    law = allocation_law(studies[0].tokens)
    params = law.fit_many(studies[0].tokens, np.stack([data.values for data in studies]))
    left: dict[int, tuple[Scores, Fit]] = {}
    for k, data in enumerate(studies):
        values = {name: float(params[name][k]) for name in law.names}
        fit = Fit.of(law, values, data.tokens, data.values, data.weights())
        if not (data.equal or optimum(data, fit).open_sides(data.tokens) or flatness(data, fit).p_value > LEVEL):
            left[k] = data, fit
    p_values = against_monotone(list(left.values()), monotone_laws(law), seed) if left else []
    left = {k: study for (k, study), (_, p) in zip(left.items(), p_values, strict=True) if p <= ASKED}
    drawn = {k: replace(fit, draws=draw(data, fit, draws, seed + k)) for k, (data, fit) in left.items()}
    return [k in drawn and not optimum(data, drawn[k]).open_sides(data.tokens) for k, data in enumerate(studies)]


def plain(data: Scores) -> tuple[bool, bool]:
    """Whether `scipy.optimize.curve_fit` of Equation 1 claims a peak inside the data with a finite standard error, and
    with an interval inside. It starts at the best score; an end without convergence is no claim.
    """
    logs, law = np.log(data.tokens), allocation_law(data.tokens)

    def equation_1(s: Array, *values: float) -> Array:
        return law.evaluate(dict(zip(law.names, values, strict=True)), s)

    start = {
        "mu": float(logs[data.values.argmax()]), "sigma": 1.0, "s_min": 0.0, "p_base": float(data.values.min()),
        "amplitude": float(np.ptp(data.values)), "penalty": 0.0,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            found, covariance = curve_fit(equation_1, data.tokens, data.values, [start[name] for name in law.names])
        except RuntimeError:  # no convergence within its limit of steps
            return False, False
    values, error = dict(zip(law.names, found, strict=True)), float(np.sqrt(covariance[0, 0]))
    inside = bool(logs[0] < values["mu"] < logs[-1] and values["amplitude"] > 0 and np.isfinite(error))
    return inside, inside and bool(logs[0] < values["mu"] - NORMAL * error and values["mu"] + NORMAL * error < logs[-1])


@dataclass(frozen=True, kw_only=True)
class Peaks(Stage):
    """``sets`` simulated studies of one shape for each number of items; ``number`` seeds them."""

    version: ClassVar[int] = 1
    shape: Shape
    number: int
    sets: int
    draws: int

    @property
    def label(self) -> str:
        return f"claim peaks, {self.shape}, {self.number + 1}"

    @property
    def cost(self) -> float:
        return OPERATIONS * self.sets

    def execute(self, work: Work) -> None:
        each = [claims(self.shape, n, self.sets, self.draws, self.number).assign(items=n) for n in of(self.shape)]
        pd.concat(each).assign(shape=self.shape).to_csv(work.path / PEAKS, index=False)


def of(shape: Shape) -> tuple[int, ...]:
    """The numbers of items a shape is tried with; 0 where each set draws its own."""
    return (0,) if shape == "peak" else ITEMS


def peak_stages(sets: int, draws: int) -> tuple[Peaks, ...]:
    """Stages that together make ``sets`` sets of each shape and number of items."""
    sizes = [min(SETS_A_STAGE, sets - start) for start in range(0, sets, SETS_A_STAGE)]
    return tuple(Peaks(shape=s, number=k, sets=size, draws=draws) for s in SHAPES for k, size in enumerate(sizes))


def rates(found: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`claims` with shape and items: shape, items, sets, and for each kind of claim its share and the ends of
    the 95% interval (Wilson) of that: <kind>, <kind>_low, <kind>_high.
    """
    rows = []
    for (shape, items), part in found.groupby(["shape", "items"], sort=False):
        row: dict[str, Any] = {"shape": shape, "items": items, "sets": len(part)}
        for kind in KINDS:
            low, high = proportion_confint(int(part[kind].sum()), len(part), method="wilson")
            row |= {kind: float(part[kind].mean()), f"{kind}_low": float(low), f"{kind}_high": float(high)}
        rows.append(row)
    return pd.DataFrame(rows)


def table(frame: pd.DataFrame) -> Styler:
    """How often a peak is claimed; from :func:`rates`."""
    columns = {
        name: [f"{p:.1%} ({a:.1%} to {b:.1%})" for p, a, b in frame[[k, f"{k}_low", f"{k}_high"]].to_numpy()]
        for k, name in KINDS.items()
    }
    items = frame["items"].map(lambda n: f"{n:,}" if n else "1,000 to 4,000")
    return styled(frame[["shape"]].assign(items=items, sets=frame["sets"], **columns), {}, "not run", index=False)


def facts(frame: pd.DataFrame) -> Facts:
    """From :func:`rates`: for tested and plain, the largest share of false claims, and the share of real peaks."""
    none = frame[frame["shape"] != "peak"]
    words: Facts = {}
    for kind in ("tested", "plain"):
        worst, real = none.iloc[int(none[kind].argmax())], frame.loc[frame["shape"] == "peak", kind].mean()
        low, high = (worst[f"{kind}_{end}"] for end in ("low", "high"))
        words[f"{kind}_false"] = f"{worst[kind]:.1%} (95% interval {low:.1%} to {high:.1%})"
        words[f"{kind}_real"] = f"{real:.1%}"
    return words
