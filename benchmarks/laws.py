"""The laws against random starts: is a fit of ours ever worse, and how much faster is it?"""

import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeWarning, curve_fit
from tqdm import tqdm

from benchmarks.problems import Array, Problem, random_problems, study_problems
from repro import params
from repro.cmr.study import open_study
from repro.laws import analyse

RANDOM = 200  # problems
STARTS = 50  # of curve_fit, for each problem
DRAWS = 1000  # of the bootstrap
EXCESS = 1e-9  # an SSE this much larger, relatively, is as good
EXACT = 1e-24  # an SSE this small beside the spread of y is rounding: both fits are exact
POLISH = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14, "x_scale": "jac", "max_nfev": 5000}


@dataclass(frozen=True)
class Contest:
    """One problem: sums of squares and seconds of both sides; failed: starts of curve_fit that gave up."""

    problem: Problem
    ours: float
    theirs: float
    seconds_ours: float
    seconds_theirs: float
    starts: int
    failed: int

    @property
    def excess(self) -> float:
        """How much larger our sum of squares is, relatively; negative where curve_fit's best is worse, -1 where it
        has none.
        """
        if not np.isfinite(self.theirs):
            return -1.0
        spread = float(np.sum((self.problem.y - self.problem.y.mean()) ** 2))
        floor = EXACT * spread
        return (max(self.ours, floor) - max(self.theirs, floor)) / max(self.theirs, floor)


def contest(problem: Problem, starts: int, seed: int) -> Contest:
    """Our fit, and the best of ``starts`` runs of curve_fit with the law's own bounds.

    Each run starts from nonlinear parameters drawn uniformly within their bounds and from the coefficients that
    are best for these, which spares curve_fit half of the search; its settings are its own. Off the clock, the
    best of its results (or, where every run gave up, the best start) is polished by a last one with tolerances
    near rounding and evaluations to spare.
    """
    law, x, y = problem.law, problem.x, problem.y
    began = time.perf_counter()
    ours = law.fit(x, y).sse
    seconds_ours = time.perf_counter() - began

    rng = np.random.default_rng(seed)
    low, high = bounds(problem)
    guesses = [guess(problem, rng) for _ in range(starts)]
    found, failed = [], 0
    began = time.perf_counter()
    for start in guesses:
        end = descend(problem, start, low, high)
        if end is None:
            failed += 1
        else:
            found.append(end)
    seconds_theirs = time.perf_counter() - began
    best = min(found or guesses, key=lambda params: squares(problem, params))
    polished = descend(problem, best, low, high, **POLISH)
    results = [params for params in (*found, polished) if params is not None]
    theirs = min((squares(problem, params) for params in results), default=np.inf)
    return Contest(problem, ours, theirs, seconds_ours, seconds_theirs, starts, failed)


def model(problem: Problem, params: Array) -> Array:
    """The law at the problem's x, as a user of curve_fit would write it: parameters in, curve out."""
    count = len(problem.law.nonlinear)
    columns = problem.law.basis(problem.x, *params[:count])
    return np.asarray(sum(c * column for c, column in zip(params[count:], columns, strict=True)))


def squares(problem: Problem, params: Array) -> float:
    """The sum of squared residuals."""
    return float(np.sum((problem.y - model(problem, params)) ** 2))


def bounds(problem: Problem) -> tuple[Array, Array]:
    """Of all parameters, coefficients with a sign on their side of zero."""
    nonlinear, linear = problem.law.nonlinear, problem.law.linear
    low = [*(part.low for part in nonlinear), *(0.0 if part.sign > 0 else -np.inf for part in linear)]
    high = [*(part.high for part in nonlinear), *(0.0 if part.sign < 0 else np.inf for part in linear)]
    return np.array(low), np.array(high)


def guess(problem: Problem, rng: np.random.Generator) -> Array:
    """Nonlinear parameters uniform within bounds, and their best coefficients, those on the wrong side set to 0."""
    law = problem.law
    theta = np.array([rng.uniform(part.low, part.high) for part in law.nonlinear])
    columns = [np.broadcast_to(column, problem.x.shape) for column in law.basis(problem.x, *theta)]
    linear = np.linalg.lstsq(np.stack(columns, axis=-1), problem.y)[0]
    wrong = linear * [part.sign for part in law.linear] < 0
    return np.array([*theta, *np.where(wrong, 0.0, linear)])


def descend(problem: Problem, start: Array, low: Array, high: Array, **settings: Any) -> Array | None:
    """curve_fit from one start; None where it runs out of evaluations."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)  # about the covariance, which is not asked for
        try:
            found, _ = curve_fit(
                lambda _x, *params: model(problem, np.array(params)), problem.x, problem.y,
                p0=start, bounds=(low, high), **settings,
            )  # fmt: skip
        except RuntimeError:
            return None
    return np.asarray(found, dtype=float)


def report(contests: Iterable[Contest]) -> str:
    """What came out, in words and numbers."""
    every = list(contests)
    excess = np.array([one.excess for one in every])
    worse = -excess[excess < -EXCESS]
    ours, theirs = sum(one.seconds_ours for one in every), sum(one.seconds_theirs for one in every)
    failed, starts = sum(one.failed for one in every), sum(one.starts for one in every)
    by = f", by {np.median(worse):.1e} of its sum (median) to {worse.max():.1e}" if len(worse) else ""
    return "\n".join([
        f"{len(every)} problems, {starts:,} calls of curve_fit, of which {failed:,} ran out of evaluations",
        f"worst relative excess of our sum of squares: {excess.max():.1e} (allowed {EXCESS:g})",
        f"best of curve_fit's worse than ours: {len(worse)} problems{by}",
        f"seconds: ours {ours:.2f}, curve_fit {theirs:.1f}, {theirs / ours:.0f} times as many",
    ])  # fmt: skip


def study_losses() -> pd.DataFrame | None:
    """The losses of the quick study, None where it has not been run."""
    study = open_study(params.check(params.read(params.preset_file("quick"))))
    done = all(study.store.has(stage) for stage in study.design.continual)
    return study.losses() if done else None


def versus(problems: Iterable[Problem]) -> str:
    """The report on all problems, then on each law's."""
    every = [contest(problem, STARTS, seed) for seed, problem in enumerate(tqdm(list(problems), leave=False))]
    names = dict.fromkeys(one.problem.law.name for one in every)
    parts = [f"{name}:\n{report(one for one in every if one.problem.law.name == name)}" for name in names]
    return "\n\n".join([f"all laws:\n{report(every)}", *parts])


def against_random_starts() -> Iterator[str]:
    """What `make bench` prints about the laws, piece by piece; some minutes."""
    losses, problems = study_losses(), list(random_problems(RANDOM, seed=0))
    if losses is None:
        yield "the quick study has not been run here: its curves are left out"
    else:
        began = time.perf_counter()
        analysis = analyse(losses, bootstrap=DRAWS)
        seconds = time.perf_counter() - began
        yield f"the laws of the quick study with {DRAWS:,} bootstrap draws: {seconds:.1f} s ({analysis.method})"
        problems += study_problems(analyse(losses))
    yield versus(problems)
