"""What a reader of a fit's numbers should know: its warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from repro.laws.intervals import profile, profile_limit
from repro.laws.projection import Array

if TYPE_CHECKING:
    from repro.laws.results import Fit

EDGE = 1e-3  # share of a parameter's range that counts as being at its bound
CONDITION = 1e3  # condition number of the normalised columns from which coefficients are said to trade off
ALIKE = 0.9999  # cosine from which two basis functions count as nearly equal
SPARE = 2
CONSTANT = 1e-12  # spread of y, as a share of its size, up to which it is rounding
LEVEL = 0.05
BEYOND = 2.0  # how many times beyond the largest, or short of the smallest, x a law may be asked without a word


def warnings(fit: Fit) -> tuple[str, ...]:
    """Few points, parameters at bounds, an ill-conditioned design, a power that is a logarithm."""
    if np.ptp(fit.y) <= CONSTANT * np.max(np.abs(fit.y)):
        return ("y does not vary: parameters mean nothing",)
    few = f"{fit.n} points for {len(fit.params)} parameters: the fit is hardly tested"
    found = [few] if fit.spare < SPARE else []
    return (*found, *_at_bounds(fit), *_trade_offs(fit), *_logarithms(fit))


def extrapolation(fit: Fit, x: ArrayLike) -> tuple[str, ...]:
    """A warning if ``x`` reaches further beyond the data than a factor of two."""
    at = np.abs(np.atleast_1d(np.asarray(x, dtype=float)))
    seen = np.abs(fit.x[fit.x != 0])
    if not seen.size or not at.size:
        return ()
    found = []
    if at.max() > BEYOND * seen.max():
        found.append(f"extrapolated: {at.max() / seen.max():.3g} times beyond the data ({seen.max():.4g})")
    near = at[at > 0]
    if near.size and near.min() * BEYOND < seen.min() and not np.any(fit.x == 0):
        found.append(f"extrapolated: {seen.min() / near.min():.3g} times short of the data ({seen.min():.4g})")
    return tuple(found)


def _at_bounds(fit: Fit) -> list[str]:
    found = []
    for part in fit.law.nonlinear:
        value, margin = fit.params[part.name], EDGE * (part.high - part.low)
        if value - part.low < margin or part.high - value < margin:
            found.append(f"{part.name} = {value:.4g} is at its bound")
    zero = [f"{c.name} is held at its bound 0" for c in fit.law.linear if c.sign and fit.params[c.name] == 0]
    return found + zero


def _trade_offs(fit: Fit) -> list[str]:
    theta, _ = fit.law.split(fit.params)
    weighted = np.sqrt(fit.weights)[:, None] * fit.law.columns(fit.x, theta)
    length = np.sqrt(np.sum(weighted**2, axis=0))
    unit = weighted / np.where(length > 0, length, 1.0)
    if unit.shape[1] < 2:
        return []
    condition = float(np.linalg.cond(unit))
    if condition < CONDITION:
        return []
    alike = np.abs(np.triu(unit.T @ unit, k=1))
    one, two = np.unravel_index(int(np.argmax(alike)), alike.shape)
    if alike[one, two] > ALIKE:
        pair = f"{fit.law.linear[one].name} and {fit.law.linear[two].name}"
        return [f"{pair} trade off, their basis functions being nearly equal: trust the curve, not the two numbers"]
    return [f"the basis functions are nearly dependent (condition {condition:.1g}): trust the curve, not the numbers"]


def _logarithms(fit: Fit) -> list[str]:
    # Only for one power: of two, one can nearly always be swapped for a logarithm.
    law = fit.law
    if law.conditioned is None or not fit.spare or len(law.nonlinear) > 1:
        return []
    problem = law.problem(fit.x, fit.y[None], fit.weights)
    theta: Array = law.split(fit.params)[0]
    limit = profile_limit(fit, problem, theta, LEVEL)
    return [
        f"{part.name} = {fit.params[part.name]:.4g} cannot be told from 0: a logarithm fits as well"
        for place, part in enumerate(law.nonlinear)
        if part.singular == 0 and profile(problem, place, 0.0, theta)[0] <= limit
    ]
