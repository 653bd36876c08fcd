"""Bootstrap draws of a group's loss curves, and of the turning points that follow from them.

For each draw, every curve of a group is replaced by one with the noise its residuals show (:mod:`repro.laws.noise`);
where losses by held-out sequence are known, the sequences are resampled too, the same ones for every ratio, size and
run. Equation 6 is then fitted, and Equation 27 solved: in every other draw with exponents up to `WIDE` instead of 1,
because no data tell where that bound should be. :mod:`repro.laws.cmr.critical` continues from these draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repro.laws import noise
from repro.laws.cmr.laws import GENERAL_TOKEN_LAW, turning_points
from repro.laws.inference import tangent_basis
from repro.laws.law import Fit
from repro.laws.solver import Array

AT_END = 0.01  # a trajectory reaches T_max when its last point is within this share of it
FINE = 1e9  # ratios are told apart to this many places when their noise is seeded
WIDE = 3.0  # the other upper bound of Equation 6's exponents: the paper's Table 4 has one of 3.43
TAIL = 0.1  # of a run: its points there, less the curve's course, tell the loss at its end
BOUNDS = (GENERAL_TOKEN_LAW.nonlinear[0].high, WIDE)  # of the exponents, by draw in turn
LEAST = 0.05  # least share of a point's noise assumed to remain in its residual

GENERAL_TOKEN_LAW_WIDE = replace(
    GENERAL_TOKEN_LAW, nonlinear=tuple(replace(part, high=WIDE) for part in GENERAL_TOKEN_LAW.nonlinear)
)


class Curve(NamedTuple):
    """One ratio of a group: both fits, and the run (seed) of each of their points. sequences: the increments of
    "general" and "domain" loss by held-out sequence, (points, m), where they are known.
    """

    ratio: float
    domain: Fit
    general: Fit
    runs: NDArray[np.generic]
    sequences: Mapping[str, Array]

    @property
    def several(self) -> bool:
        return len(np.unique(self.runs)) > 1


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of one group, n of them, over its r ratios.

    general, domain: parameters of Equation 6 for each ratio, n rows each. times: T0 (n, r), NaN where a curve does not
    turn. general_end, domain_end: (n, r) deviations of the increments at T_max. methods: the noise of each curve.
    turned: as general, but with the exponents that T0 was found with.
    """

    general: tuple[pd.DataFrame, ...]
    domain: tuple[pd.DataFrame, ...]
    times: Array
    general_end: Array
    domain_end: Array
    methods: tuple[noise.Method, ...]
    turned: tuple[pd.DataFrame, ...]

    def times_at(self, lagrange: float, *, t_max: float) -> Array:
        """What `times` would be with another multiplier."""
        return _times(self.turned, self.domain, lagrange=lagrange, t_max=t_max)


def draw(curves: Sequence[Curve], n: int, entropy: Sequence[int], *, lagrange: float, t_max: float) -> Draws:
    """``n`` draws of a group, seeded by ``entropy``; the rest as :func:`repro.laws.turning_points` takes it.

    With several runs, the same ones are drawn for every ratio and for both losses: all runs of a seed start from one
    base model. With one, each curve has noise of its own, with a correlation estimated from all curves of its loss.
    """
    labels = np.unique(np.concatenate([curve.runs for curve in curves]))
    runs = noise.Runs.drawn(labels, n, np.random.default_rng([*entropy, 2]))
    weights: dict[int, Array] = {}  # by number of sequences, seeded by it alone: alike for every group of a study
    general, general_end, drawn = _refitted("general", curves, runs, weights, t_max, [*entropy, 0])
    turned = [_half_wide(params, data) for params, data in zip(general, drawn, strict=True)]
    domain, domain_end, _ = _refitted("domain", curves, runs, weights, t_max, [*entropy, 1])
    times = _times(turned, domain, lagrange=lagrange, t_max=t_max)
    methods: tuple[noise.Method, ...] = tuple("runs" if curve.several else "ar1" for curve in curves)
    return Draws(general, domain, times, general_end, domain_end, methods, tuple(turned))


def _times(general: Sequence[pd.DataFrame], domain: Sequence[pd.DataFrame], **solved: float) -> Array:
    pairs = zip(general, domain, strict=True)
    return np.stack([turning_points(_arrays(d), _arrays(g), **solved) for g, d in pairs], axis=1)


def _arrays(frame: pd.DataFrame) -> dict[str, Array]:
    return {str(name): frame[name].to_numpy(float) for name in frame}


def _held_out(changes: Array | None, n: int, entropy: int, weights: dict[int, Array]) -> Array | float:
    """How far resampling the held-out sequences moves the mean of their increments (points, m): (n, points)."""
    if changes is None:
        return 0.0
    m = changes.shape[1]
    if m not in weights:
        counts = np.random.default_rng([entropy, 3, m]).multinomial(m, np.full(m, 1 / m), size=n)
        weights[m] = (counts / m - 1 / m) * np.sqrt(m / (m - 1))
    return weights[m] @ changes.T


def _half_wide(params: pd.DataFrame, drawn: noise.Drawn) -> pd.DataFrame:
    """Equation 6 in each draw, every other one refitted with exponents up to `WIDE`."""
    wide = GENERAL_TOKEN_LAW_WIDE.fit_many(drawn.x, drawn.y[1::2], drawn.weights)
    mixed = params.copy()
    mixed.iloc[1::2] = pd.DataFrame(wide)[list(params)].to_numpy()
    return mixed


def _refitted(
    loss: str, curves: Sequence[Curve], runs: noise.Runs, weights: dict[int, Array], t_max: float, entropy: list[int]
) -> tuple[tuple[pd.DataFrame, ...], Array, list[noise.Drawn]]:
    """Parameters for each fit of one loss, the deviations of the loss at T_max (n, r), and the data drawn."""
    n, fits = len(runs.spread_quantile), [(curve.general if loss == "general" else curve.domain) for curve in curves]
    single = [fit for fit, curve in zip(fits, curves, strict=True) if not curve.several and fit.df_resid]
    rho = noise.ar1(noise.along(fit.design) for fit in single) if single else 0.0
    frames, ends, data = [], [], []
    # The noise of a curve without residuals: the median of the others'; 0 if all are without.
    sizes = [noise.marginal(*noise.along(fit.design), rho) for fit in fits if fit.df_resid]
    sigma = float(np.median(sizes)) if sizes else 0.0
    for fit, curve in zip(fits, curves, strict=True):
        shift = _held_out(curve.sequences.get(loss), n, entropy[0], weights)
        rng = np.random.default_rng([*entropy, round(FINE * curve.ratio)])
        if curve.several:
            drawn = noise.draws(fit.design, n, rng, runs=curve.runs, method="runs", shared=runs)
        elif fit.df_resid:
            drawn = noise.draws(fit.design, n, rng, method="ar1", correlation=rho)
        else:
            series = noise.ar1_series(rng, n, fit.n, sigma, rho)
            drawn = noise.Drawn(fit.x, fit.predict(fit.x) + series, fit.weights, "ar1")
        at_end = np.zeros(len(drawn.y))
        if isinstance(shift, np.ndarray):
            if len(drawn.x) < fit.n:  # several runs at the same tokens: their mean
                shift = np.stack([shift[:, fit.x == t].mean(axis=1) for t in drawn.x], axis=1)
            at_end = shift[:, np.argmax(drawn.x)]
            drawn = replace(drawn, y=drawn.y + shift)
        params = fit.law.fit_many(drawn.x, drawn.y, drawn.weights)
        frames.append(pd.DataFrame(params))
        ends.append(_end(fit, curve, drawn, params, t_max, at_end))
        data.append(drawn)
    return tuple(frames), np.stack(ends, axis=1), data


def _end(fit: Fit, curve: Curve, drawn: noise.Drawn, params: dict[str, Array], t_max: float, held_out: Array) -> Array:
    """How far the loss at T_max deviates in each draw, (n,).

    If several runs were measured at T_max, it is the deviation of their mean. If the only run was, it is how far the
    points of its last tenth lie from the refitted curve, scaled up to the noise of points that the fit did not see: a
    drift so slow that the law follows it counts as the course of this run, not as noise; what held-out sampling moves
    the last point by, (n,), is added whole. Otherwise it is the deviation of the law's prediction.
    """
    last = int(np.argmax(drawn.x))
    reached = drawn.x[last] >= (1 - AT_END) * t_max
    at_last = fit.x == drawn.x[last]
    near = _near_end(drawn.x)
    mean = near * drawn.weights / np.sum(near * drawn.weights)
    if reached and drawn.method == "runs" and len(np.unique(curve.runs[at_last])) > 1:
        return np.asarray((drawn.y - fit.predict(drawn.x)) @ mean)
    if reached and drawn.method == "ar1":
        root = np.sqrt(drawn.weights)
        left = 1 - np.sum((tangent_basis(fit.design).T @ (mean / root)) ** 2) / np.sum((mean / root) ** 2)
        apart = (drawn.y - fit.law.evaluate_many(params, drawn.x)) @ mean
        return np.asarray(apart / np.sqrt(max(left, LEAST)) + held_out)
    return np.asarray(fit.law.evaluate_many(params, [t_max])[:, 0] - float(fit.predict(t_max)))


def _near_end(x: Array) -> NDArray[np.bool_]:
    return np.asarray(x >= (1 - TAIL) * x.max())


def at_end(fit: Fit, t_max: float) -> float:
    """The increment at ``t_max``: the law's, moved by how far the last tenth of the run lies from it."""
    near = _near_end(fit.x)
    apart = np.average((fit.y - fit.predict(fit.x))[near], weights=fit.weights[near])
    return float(fit.predict(t_max) + apart)
