"""A frame of validation losses: checked, turned into increments, cleaned, and tested for changes beyond noise."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage, stats

from repro.laws.cmr.critical import ratio_label
from repro.laws.inference import LEVEL
from repro.laws.noise import whitened
from repro.laws.solver import Array

NUMBERS = ("tokens", "general_loss", "domain_loss")
DEFAULTS: dict[str, str | int] = {"size": "model", "domain": "domain", "seed": 0}
KEYS = ["size", "domain"]
ABOUT = 1 + 1e-9  # a point at T_max counts as up to it in spite of rounding
LOSSES = ("general", "domain")
SEQUENCES = {loss: f"{loss}_sequences" for loss in LOSSES}  # losses of each held-out sequence
SAME = 1e-9  # ratios that differ by no more are one ratio, written with different rounding

SURE = 0.01  # level of the tests for an effect
CORRELATIONS = np.linspace(0, 0.96, 17)
USUAL = 0.6  # correlations up to this are allowed for where the runs cannot exclude them
NOTHING = 1e-9  # nats: losses that differ by no more are the same, written with different rounding

DENSE = 60  # points of a run beyond which it is condensed to as many means
FAR = 6.0  # robust standard deviations from its own run at which a point is an outlier, at least
ODDS = 1e-6  # a run has an outlier by chance with about this probability for each point
BESIDE = 5  # neighbours on either side that an outlier is compared with
EARLY, STEEP = 3, 5.0  # the first points of a run are outliers only at so many times that distance
LEAST = 8  # points of a run that show what an outlier is
MISFIT = 2e-3  # share of a loss's range within which the smooth curve may miss it
LEFT = 5.0  # an exploded run leaves its past by so many times all the change there was before
EXPLOSION = 1.0  # nats: forgetting at the largest ratios rises by less, and is what is measured
STEPS = 12  # of the reweighting
POWER = 0.3  # losses are about linear in this power of T
BEYOND = 2.0  # ... and ends above its base by so many times the change of any other run
SHOWN = 10  # rows named in a warning


class Base(NamedTuple):
    """Losses before continual pre-training, nats per token, the mean over seeds."""

    general: float
    domain: float


@dataclass(frozen=True)
class Trajectories:
    """One model size on one domain: its base, and increments at every point with tokens > 0.

    points: columns ratio, tokens, seed, general, domain, row, ordered by ratio, tokens and seed; each seed's increments
    are over that seed's own base. Where losses by held-out sequence were given, general_sequences and domain_sequences
    hold their increments, an array (m,) at each point. disagreement: the largest difference of general losses of one
    seed at 0 tokens. counted: what ``row`` counts, a "line" of a file (column line) or a "row", its index.
    notes: what was left out or condensed.
    """

    size: str
    domain: str
    base: Base
    points: pd.DataFrame = field(repr=False, compare=False)
    disagreement: float = 0.0
    counted: str = "row"
    notes: tuple[str, ...] = ()

    def measured(self, t_max: float) -> pd.DataFrame:
        """Mean increments over seeds, in the columns of :meth:`repro.laws.Analysis.measured`."""
        mean = self.points.groupby(["ratio", "tokens"], as_index=False)[["general", "domain"]].mean()
        return pd.DataFrame({
            "size": self.size, "domain_name": self.domain,
            "ratio": mean["ratio"], "t": 100 * mean["tokens"] / t_max,
            "general": mean["general"], "domain": mean["domain"], "kind": "measured",
        })  # fmt: skip


def trajectories(losses: pd.DataFrame) -> list[Trajectories]:
    """One entry for each (size, domain), in order of appearance.

    losses: columns ratio, tokens, general_loss, domain_loss; optional size, domain, seed. Rows with tokens = 0 give the
    base: one for each seed, or one for all (the ratio of these rows is not read). general_sequences and
    domain_sequences, if there, hold arrays (m,): the loss of each held-out sequence, the same sequences in every row.
    Raises ValueError for a missing column, a value that is not finite or out of range, or a group without a row at 0
    tokens or without any row beyond; it names the row and what is allowed.
    """
    frame = _checked(losses)
    groups = frame.groupby(KEYS, sort=False)
    return [_group(str(rows["size"].iloc[0]), str(rows["domain"].iloc[0]), rows) for _, rows in groups]


def _checked(losses: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in ("ratio", *NUMBERS) if name not in losses]
    if missing:
        raise ValueError(f"the losses lack {', '.join(missing)}; columns are ratio, {', '.join(NUMBERS)}")
    frame = losses.assign(**{name: value for name, value in DEFAULTS.items() if name not in losses})
    frame[KEYS] = frame[KEYS].astype(str)
    for name in NUMBERS:
        _refuse(frame, ~frame[name].astype(float).abs().lt(np.inf), name, "a finite number")
    _refuse(frame, frame["tokens"] < 0, "tokens", "0 or more")
    trained = frame["tokens"] > 0
    _refuse(frame, trained & ~frame["ratio"].between(0, 1), "ratio", "between 0 and 1")
    return frame.assign(ratio=one_value_each(frame["ratio"]))


def one_value_each(ratios: pd.Series) -> pd.Series:
    """The ratios with those that differ by rounding (0.1 and 0.09999999999999998) made equal, to the most frequent."""
    counts = ratios.value_counts().sort_index()
    values = counts.index.to_numpy(float)
    cluster = np.cumsum(np.diff(values, prepend=values[:1]) > SAME)
    usual = counts.groupby(cluster).transform(lambda same: same.idxmax())
    return ratios.map(usual)


def _refuse(frame: pd.DataFrame, bad: pd.Series, name: str, allowed: str) -> None:
    if bad.any():
        row = bad[bad].index[0]
        raise ValueError(f"row {row}: {name} is {frame.loc[bad, name].iloc[0]}; it must be {allowed}")


def _group(size: str, domain: str, rows: pd.DataFrame) -> Trajectories:
    # Sorted, so that nothing random depends on the order of the rows given.
    rows = rows.sort_values(
        ["ratio", "tokens", "seed"], kind="stable", key=lambda c: c.astype(str) if c.name == "seed" else c
    )
    before, after = rows[rows["tokens"] == 0], rows[rows["tokens"] > 0]
    if before.empty:
        raise ValueError(f"{size}, {domain}: no row with tokens = 0, so the losses before training are not known")
    if after.empty:
        raise ValueError(f"{size}, {domain}: no row with tokens > 0")
    by_seed = before.groupby("seed")[["general_loss", "domain_loss"]].mean()
    mean = by_seed.mean()
    own = by_seed.reindex(after["seed"]).fillna(mean).to_numpy()
    points = pd.DataFrame({
        "ratio": after["ratio"].to_numpy(float), "tokens": after["tokens"].to_numpy(float),
        "seed": after["seed"].to_numpy(),
        "general": after["general_loss"].to_numpy(float) - own[:, 0],
        "domain": after["domain_loss"].to_numpy(float) - own[:, 1],
        "row": (after["line"] if "line" in after else after.index.to_series()).to_numpy(),
    })  # fmt: skip
    for name in SEQUENCES.values():
        if (changes := _by_sequence(name, before, after)) is not None:
            points[name] = pd.Series(changes, dtype=object)
    apart = before.groupby("seed")["general_loss"].agg(lambda losses: losses.max() - losses.min()).max()
    base = Base(float(mean["general_loss"]), float(mean["domain_loss"]))
    counted = "line" if "line" in rows else "row"
    return Trajectories(size, domain, base, points.reset_index(drop=True), float(apart), counted)


def _by_sequence(name: str, before: pd.DataFrame, after: pd.DataFrame) -> list[Array] | None:
    """Each point's increments by held-out sequence, over its own seed's base; None where the rows have not all of them.
    Raises ValueError if rows differ in their number of sequences, which cannot be the same ones then.
    """
    if name not in after or not all(isinstance(losses, np.ndarray) for losses in [*before[name], *after[name]]):
        return None
    if len(counts := {len(losses) for losses in [*before[name], *after[name]]}) > 1:
        raise ValueError(
            f"{name} has {min(counts)} to {max(counts)} losses; the same sequences are needed in every row"
        )
    bases = {seed: np.mean(list(rows), axis=0) for seed, rows in before.groupby("seed")[name]}
    every = np.mean(list(bases.values()), axis=0)
    pairs = zip(after[name], after["seed"], strict=True)
    return [losses - bases.get(seed, every) for losses, seed in pairs]


class Effect(NamedTuple):
    """Whether the general loss changes by more than its noise, and whether it differs between ratios by more."""

    changes: bool
    differs: bool


def effect(points: pd.DataFrame) -> Effect:
    """F tests of the general increments (columns ratio, tokens, seed, general), at the 1% level.

    Under the alternative each ratio has a quadratic in ln T of its own; against it stand a constant (no change) and one
    quadratic for all ratios (no difference). Each seed has a constant besides, the error of its base, which one
    observation of 0 ties to the measured base. Along a run errors are AR(1); short runs hardly tell their correlation,
    so the test must hold at every one in the 95% interval of the restricted likelihood, up to the estimate or 0.6. With
    too few points for a test, both are taken to be so.
    """
    if np.ptp([0.0, *points["general"]]) < NOTHING:
        return Effect(changes=False, differs=False)
    points = points.sort_values(["ratio", "seed", "tokens"], kind="stable")
    seeds = np.asarray(pd.get_dummies(points["seed"]), dtype=float)
    ratios = np.asarray(pd.get_dummies(points["ratio"]), dtype=float)
    logs = np.log(points["tokens"].to_numpy(float))
    powers = np.vander((logs - logs.mean()) / (np.std(logs) or 1.0), 3)
    own = (ratios[:, :, None] * powers[:, None]).reshape(len(points), -1)
    root = np.sqrt(points["weight"].to_numpy(float) if "weight" in points else np.ones(len(points)))
    seeds, own, powers = (root[:, None] * columns for columns in (seeds, own, powers))
    y = root * points["general"].to_numpy(float)
    starts = np.flatnonzero(~points.duplicated(["ratio", "seed"]).to_numpy())
    full = np.column_stack([seeds, own])
    fits = {rho: _fitted(full, y, starts, rho, seeds.shape[1]) for rho in CORRELATIONS}
    best = max(fits, key=lambda rho: fits[rho].restricted)
    limit = fits[best].restricted - stats.chi2.ppf(1 - LEVEL, 1)
    likely = {rho: fit for rho, fit in fits.items() if fit.restricted >= limit and rho <= max(best, USUAL)}
    less = (seeds, np.column_stack([seeds, powers]))
    return Effect(*(
        all(_p_value(_fitted(columns, y, starts, rho, seeds.shape[1]), most) < SURE for rho, most in likely.items())
        for columns in less
    ))  # fmt: skip


class _Fitted(NamedTuple):
    sse: float
    rank: int
    df: int
    restricted: float  # twice the restricted log likelihood, without constants


def _fitted(columns: Array, y: Array, starts: NDArray[np.intp], rho: float, seeds: int) -> _Fitted:
    """Least squares with AR(1) errors along runs that begin at ``starts``, and the measured base as one point more."""
    both = np.column_stack([columns, y])
    base = np.concatenate([np.full(seeds, 1 / seeds), np.zeros(both.shape[1] - seeds)])
    white = np.vstack([whitened(both, rho, starts), base])
    solution, _, rank, values = np.linalg.lstsq(white[:, :-1], white[:, -1])
    sse = float(np.sum((white[:, -1] - white[:, :-1] @ solution) ** 2))
    df = len(white) - int(rank)
    inner = (len(y) - len(starts)) * np.log(1 - rho**2) + 2 * np.sum(np.log(values[:rank]))
    tiny = np.finfo(float).tiny
    return _Fitted(sse, int(rank), df, float(-inner - df * np.log(max(sse, tiny))))


def _p_value(less: _Fitted, most: _Fitted) -> float:
    extra = most.rank - less.rank
    if most.df < 1 or extra < 1 or most.sse <= 0:
        return 0.0
    return float(stats.f.sf((less.sse - most.sse) / extra / (most.sse / most.df), extra, most.df))


def cleaned(run: Trajectories) -> Trajectories:
    """The trajectories without copied runs, exploded runs and outlying points, long runs condensed; ``notes`` say so.

    Copies: the same losses at the same tokens as another seed of the ratio; they count once. Exploded: the median of
    what follows some point lies above all before it by five times the change up to there, and the run ends above its
    base by more than twice the change of any other run; without such a point, by more than five times; by one
    nat at least. Outliers: further from a smooth curve of their run than six robust standard deviations (more in short
    runs), and on the same side of their neighbours before and after. Condensed: runs of more than 60 points, to the
    means of 60 groups of neighbours, even in T^0.3 so that the steep start keeps its points, weighted by their number.
    """
    notes: list[str] = []
    points = run.points
    for step in (_without_copies, _without_exploded, _without_outliers, _condensed):
        points, more = step(points, run.counted)
        notes += more
    return replace(run, points=points.reset_index(drop=True), notes=tuple(notes))


def named(rows: Iterable[int], word: str) -> str:
    """Rows in words, the first ten by number: "lines 4, 8 and 12"."""
    numbers = [str(row) for row in sorted(rows)]
    if len(numbers) == 1:
        return f"{word} {numbers[0]}"
    more = len(numbers) - SHOWN
    shown, last = (numbers[:SHOWN], f"{more} more") if more > 0 else (numbers[:-1], numbers[-1])
    return f"{word}s {', '.join(shown)} and {last}"


Step = tuple[pd.DataFrame, list[str]]


def _runs(points: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every run under its name, by ascending tokens."""
    several = points["seed"].nunique() > 1
    for (_, seed), rows in points.groupby(["ratio", "seed"], sort=True):
        name = f"R = {ratio_label(float(rows['ratio'].iloc[0]))}{f', seed {seed}' if several else ''}"
        yield name, rows.sort_values("tokens", kind="stable")


def _without_copies(points: pd.DataFrame, word: str) -> Step:
    seen: dict[tuple[float, bytes], object] = {}
    copies: dict[tuple[object, object], list[pd.DataFrame]] = {}
    for (_, seed), rows in points.groupby(["ratio", "seed"], sort=True):
        series = rows.sort_values("tokens", kind="stable")[["tokens", *LOSSES]].to_numpy(float).tobytes()
        first = seen.setdefault((float(rows["ratio"].iloc[0]), series), seed)
        if first != seed and len(rows) > 1:
            copies.setdefault((first, seed), []).append(rows)
    notes = []
    for (first, seed), runs in copies.items():
        ratios = ", ".join(ratio_label(float(rows["ratio"].iloc[0])) for rows in runs)
        where = _span(pd.concat(runs), word)
        notes.append(f"seed {seed} has exactly the losses of seed {first} at R = {ratios} ({where}): copies count once")
    return _without(points, [rows for runs in copies.values() for rows in runs]), notes


def _without_exploded(points: pd.DataFrame, word: str) -> Step:
    gone, notes = [], []
    runs = list(_runs(points))
    for loss in LOSSES:
        courses = [rows[loss].to_numpy(float) for _, rows in runs]
        reach = np.array([np.max(np.abs(_steadied(course))) for course in courses])
        suspect = np.array([_leaves(course) for course in courses])
        sound = np.sort(reach[~suspect])
        if len(sound) < 2:
            continue
        for (name, rows), course, reached, doubtful in zip(runs, courses, reach, suspect, strict=True):
            others = sound[-1] if doubtful or reached < sound[-1] else sound[-2]
            end = float(np.median(course[-3:]))
            if end > max(EXPLOSION, (BEYOND if doubtful else LEFT) * others):
                gone.append(rows)
                text = f"the {loss} loss explodes to {end:.3g} above its base, other runs move by {others:.3g} at most"
                notes.append(f"{name}: {text}; the run is left out ({_span(rows, word)})")
    return _without(points, gone), notes


def _leaves(course: Array) -> bool:
    """Whether what follows some point lies far above all that was before it, the base (0) included."""
    for place in range(3, len(course) - 1) if len(course) <= DENSE else range(3, len(course) - 1, len(course) // DENSE):
        before = np.append(_steadied(course[:place]), 0.0)
        if np.median(course[place:]) - before.max() > LEFT * max(float(np.ptp(before)), NOTHING):
            return True
    return False


def _steadied(course: Array) -> Array:
    """The running median of three, which no single point moves."""
    if len(course) < 3:
        return course
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(course, 3), axis=1))


def _without_outliers(points: pd.DataFrame, word: str) -> Step:
    gone, notes = [], []
    for loss in LOSSES:
        runs = [(name, rows, _smooth(rows, loss)) for name, rows in _runs(points) if len(rows) >= LEAST]
        apart = [rows[loss].to_numpy(float) - curve for _, rows, curve in runs]
        own = [stats.median_abs_deviation(rest, scale="normal") for rest in apart]
        for (name, rows, curve), rest, spread in zip(runs, apart, own, strict=True):
            # A few points may lie close by chance: the others' spread is a floor.
            scale = max(spread, float(np.median(own)), MISFIT * float(np.ptp(curve)), NOTHING)
            least = scale * max(FAR, float(stats.t.isf(ODDS / 2, max(1, len(rows) - 4))))
            # No smooth curve follows the first steps of a run closely: there only what is far off is an outlier.
            limit = least * np.where(np.arange(len(rows)) < EARLY, STEEP, 1.0)
            far = (np.abs(rest) > limit) & _stands_out(rows[loss].to_numpy(float), least / 2)
            if far.any():
                gone.append(rows[far])
                where = named(rows.loc[far, "row"], word)
                text = f"the {loss} loss lies up to {np.abs(rest[far]).max():.3g} off the course of its run"
                notes.append(f"{name}: {text} ({where}); left out as outlying")
    return _without(points, gone), notes


def _stands_out(course: Array, least: float) -> NDArray[np.bool_]:
    """Whether each point is above, or below, the medians of up to five points before and after it by more than
    ``least``; a smooth curve may miss a steep course, which lies between them.
    """
    before = pd.Series([0.0, *course]).rolling(BESIDE, min_periods=1).median().to_numpy()[:-1]
    after = pd.Series([*course[::-1]]).rolling(BESIDE, min_periods=1).median().shift().to_numpy()[::-1]
    up, down = course - before, course - np.where(np.isnan(after), before, after)
    return np.asarray((up * down > 0) & (np.minimum(np.abs(up), np.abs(down)) > least))


def _smooth(rows: pd.DataFrame, loss: str) -> Array:
    """A polynomial in ln T, reweighted (bisquare) until outliers have no weight: the course of one run, (n,)."""
    logs, y = np.log(rows["tokens"].to_numpy(float)), rows[loss].to_numpy(float)
    columns = np.vander((logs - logs.mean()) / (np.std(logs) or 1.0), 3 if len(y) < 2 * LEAST else 4)
    # From running medians on, which no point moves: not even the first, on which the curve would else hang.
    curve, weights = y, np.ones(len(y))
    target = ndimage.median_filter(y, BESIDE, mode="mirror")
    for _ in range(STEPS):
        root = np.sqrt(weights)
        curve = columns @ np.linalg.lstsq(columns * root[:, None], target * root)[0]
        scale = max(float(stats.median_abs_deviation(y - curve, scale="normal")), NOTHING)
        target, weights = y, np.clip(1 - ((y - curve) / (4.685 * scale)) ** 2, 0, None) ** 2
    return np.asarray(curve)


def _condensed(points: pd.DataFrame, word: str) -> Step:
    runs = list(_runs(points))
    counts = [len(rows) for _, rows in runs]
    if max(counts) <= DENSE:
        return points, []
    means = pd.concat([_means(rows) if len(rows) > DENSE else rows.assign(weight=1.0) for _, rows in runs])
    text = f"runs of up to {max(counts):,} points are condensed to the means of up to {DENSE} groups of neighbours"
    return means, [f"{text}: {len(points):,} {word}s become {len(means):,} points"]


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of each group of neighbours, at the mean of T^0.3, in which losses are about linear; the last is drawn
    along the slope of the last eighth of the run to its last point.
    """
    power = rows["tokens"].to_numpy(float) ** POWER
    place = np.floor(DENSE * (power - power[0]) / (power[-1] - power[0] or 1.0)).clip(0, DENSE - 1)
    _, group, size = np.unique(place, return_inverse=True, return_counts=True)
    at, end = np.bincount(group, power) / size, slice(-DENSE // 8, None)
    means = {loss: np.bincount(group, rows[loss].to_numpy(float)) / size for loss in LOSSES}
    for values in means.values():
        values[-1] += np.polyfit(at[end], values[end], 1)[0] * (power[-1] - at[-1])
    tokens = np.append(at[:-1] ** (1 / POWER), rows["tokens"].iloc[-1])
    return rows.iloc[np.cumsum(size) - 1].assign(tokens=tokens, weight=size / size.mean(), **means)


def _span(rows: pd.DataFrame, word: str) -> str:
    return f"{word}s {rows['row'].min()} to {rows['row'].max()}"


def _without(points: pd.DataFrame, gone: list[pd.DataFrame]) -> pd.DataFrame:
    return points.drop(pd.concat(gone).index.unique()) if gone else points
