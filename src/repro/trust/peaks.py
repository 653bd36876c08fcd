"""How often a peak is claimed where there is none, and where there is one: by Equation 1 as it is tested here, and by a
plain least-squares fit of it. Scores of 16 allocations are made up about curves of several shapes; :class:`Peaks` makes
some sets of one shape a stage.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy.optimize import OptimizeWarning, curve_fit

from repro.laws.allocation.law import allocation_law, draw, monotone_laws
from repro.laws.allocation.peak import against_monotone, flatness, missing, optimum
from repro.laws.allocation.scores import Scores, checked
from repro.laws.law import Fit
from repro.laws.solver import Array
from repro.runs.spec import Stage, Work
from repro.show.tables import styled
from repro.trust.recovery import ALLOCATIONS, BUDGET, TOKENS, fitted, parts, simulate_scores

PEAKS = "peaks.csv"
ITEMS = (164, 1273, 4100)  # of HumanEval, MedQA and ChemBench4K, as paper B's scores have them
SETS_A_STAGE = 50
OPERATIONS = 1e9  # a set: operations of training that take as long
NORMAL = 1.96
KINDS = {"tested": "peak shown here", "plain": "curve_fit: peak inside", "plain_interval": "and its interval"}

Shape = Literal["flat", "straight line in ln S", "saturating", "cliff", "peak"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


def curve(shape: Shape, tokens: Array, rng: np.random.Generator) -> Array:
    """A score at each of tokens (n,) > 0: 0.3 to 0.5, and 3 to 15 points more or less, without a peak. Saturating
    scores are half-way between a third of the fewest and a third of the most tokens.
    """
    logs = np.log(tokens)
    level, change, place = rng.uniform(0.3, 0.5), rng.uniform(0.03, 0.15), rng.uniform()
    share = (logs - logs[0]) / (logs[-1] - logs[0])
    s_min = 0.9 * place * tokens[0]
    shapes = {
        "flat": 0 * share,
        "straight line in ln S": share,
        "saturating": 1 / (1 + np.exp(logs[0] + place * (logs[-1] - logs[0])) / 3 / tokens),
        "cliff": -(tokens[0] - s_min) / (tokens - s_min),
    }
    return np.asarray(level + change * shapes[shape], dtype=float)


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
            scores, _ = simulate_scores(rng)
        else:
            right = rng.binomial(items, curve(shape, tokens, rng))
            scores = pd.DataFrame({"sft_tokens": tokens, "score": right / items, "n_items": items})
        studies.append(checked(scores, BUDGET))
    frame = pd.DataFrame([plain(data) for data in studies], columns=["plain", "plain_interval"])
    return frame.assign(tested=shown(studies, draws, seed))


def shown(studies: Sequence[Scores], draws: int, seed: int) -> list[bool]:
    """`Allocation.peak_shown` of studies at the same tokens and items; simulates only where cheaper tests are met."""

    def meets(data: Scores, fit: Fit, p_value: float = 0.0) -> bool:
        return not list(missing(data, optimum(data, fit), flatness(data, fit), "", p_value))

    found = enumerate(zip(studies, fitted(studies), strict=True))
    left = {k: (data, fit) for k, (data, fit) in found if not data.equal and meets(data, fit)}
    rivals = monotone_laws(allocation_law(studies[0].tokens))
    tests = against_monotone(list(left.values()), rivals, seed) if left else []
    held = {k: p_value for k, (_, p_value) in zip(left, tests, strict=True) if meets(*left[k], p_value)}
    drawn = {k: replace(left[k][1], draws=draw(*left[k], draws, seed + k)) for k in held}
    return [k in held and meets(data, drawn[k], held[k]) for k, data in enumerate(studies)]


def plain(data: Scores) -> tuple[bool, bool]:
    """Whether `scipy.optimize.curve_fit` of Equation 1 claims a peak inside the data with a finite standard error, and
    with an interval inside. It starts at the best score; an end without convergence is no claim.
    """
    logs, law = np.log(data.tokens), allocation_law(data.tokens)

    def equation_1(s: Array, *values: float) -> Array:
        return law.evaluate(dict(zip(law.names, values, strict=True)), s)

    start = [logs[data.values.argmax()], 1.0, 0.0, data.values.min(), np.ptp(data.values), 0.0]  # in order of law.names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            found, covariance = curve_fit(equation_1, data.tokens, data.values, start)
        except RuntimeError:  # no convergence within its limit of steps
            return False, False
    (mu, *_, amplitude, _), error = found, float(np.sqrt(covariance[0, 0]))
    inside = bool(logs[0] < mu < logs[-1] and amplitude > 0 and np.isfinite(error))
    return inside, inside and bool(logs[0] < mu - NORMAL * error and mu + NORMAL * error < logs[-1])


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
    """Stages of ``sets`` sets of each shape and number of items; a quarter as many of real peaks, which are slowest."""
    counts = {shape: max(sets // 4, 1) if shape == "peak" else sets for shape in SHAPES}
    return tuple(
        Peaks(shape=shape, number=k, sets=size, draws=draws)
        for shape, count in counts.items()
        for k, size in enumerate(parts(count, SETS_A_STAGE))
    )


def table(frame: pd.DataFrame) -> Styler:
    """How often a peak is claimed; from the summary of that name, see :func:`repro.trust.recovered.recorded`."""
    columns = {
        name: [f"{p:.1%} ({a:.1%} to {b:.1%})" for p, a, b in frame[[k, f"{k}_low", f"{k}_high"]].to_numpy()]
        for k, name in KINDS.items()
    }
    items = frame["items"].map(lambda n: f"{n:,}" if n else "1,000 to 4,000")
    return styled(frame[["shape"]].assign(items=items, sets=frame["sets"], **columns), {}, "not run", index=False)
