"""What counts among measured losses, and whether they change by more than their noise."""

import numpy as np
import pandas as pd
import pytest

from repro.laws import analyse
from repro.laws.cmr import losses as quality
from repro.laws.cmr.losses import Trajectories, cleaned, effect, named, trajectories
from repro.laws.noise import ar1_series

RATIOS = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4)
NOISE = 0.002


def measured(signal: float, *, seed: int = 0, rho: float = 0.0, points: int = 20, runs: int = 1) -> pd.DataFrame:
    """Losses of six ratios by 20 tokens; the general one rises with the ratio, by ``signal`` at the end of R = 1."""
    rng = np.random.default_rng(seed)
    tokens = np.linspace(100 / points, 100, points)
    rows = [{"ratio": 0.0, "tokens": 0.0, "general_loss": 2.9 + NOISE * rng.normal(), "domain_loss": 3.4, "seed": 0}]
    frames = [pd.DataFrame(rows)]
    for ratio in RATIOS:
        for run in range(runs):
            general, domain = ar1_series(rng, 2, points, NOISE, rho)
            general = general + 2.9 + signal * ratio * (tokens / 100) ** 0.4
            domain = domain + 3.4 - 0.5 * ratio * (tokens / 100) ** 0.3
            columns = {"tokens": tokens, "general_loss": general, "domain_loss": domain, "seed": run}
            frames.append(pd.DataFrame(columns).assign(ratio=ratio))
    return pd.concat(frames, ignore_index=True)


def looked_at(losses: pd.DataFrame) -> Trajectories:
    return cleaned(trajectories(losses)[0])


@pytest.mark.parametrize(("rho", "runs"), [(0.0, 1), (0.5, 1), (0.5, 2)])
def test_noise_is_no_change(rho: float, runs: int) -> None:
    found = [effect(trajectories(measured(0.0, seed=seed, rho=rho, runs=runs))[0].points) for seed in range(10)]
    assert sum(one.changes for one in found) <= 1
    assert sum(one.differs for one in found) <= 1


def test_a_small_change_is_found() -> None:
    assert all(effect(trajectories(measured(0.05, seed=seed, rho=0.5))[0].points) == (True, True) for seed in range(5))


def test_a_change_that_is_the_same_at_every_ratio_is_told() -> None:
    losses = measured(0.0)
    losses["general_loss"] += 0.1 * (losses["tokens"] / 100) ** 0.4
    assert effect(trajectories(losses)[0].points) == (True, False)
    assert any("does not differ between ratios" in text for text in analyse(losses).groups[0].warnings)


@pytest.mark.parametrize("constant", [False, True])
def test_noise_has_no_turning_points_and_no_critical_ratio(constant: bool) -> None:
    losses = measured(0.0, rho=0.3)
    group = analyse(losses.assign(general_loss=2.9) if constant else losses, bootstrap=20).groups[0]
    assert {laws.turning_point.value for laws in group.token_laws} == {None}
    assert (group.critical_ratio.turning_point.value, group.critical_ratio.tolerance.value) == (None, None)
    assert any("does not change by more than its noise" in text for text in group.warnings)


def test_sound_runs_are_left_as_they_are() -> None:
    run = looked_at(measured(0.2, rho=0.5, runs=2))
    assert run.notes == ()
    assert len(run.points) == len(RATIOS) * 20 * 2


@pytest.mark.parametrize("loss", ["general_loss", "domain_loss"])
@pytest.mark.parametrize("start", [0, 5, 15])
def test_a_run_that_explodes_is_named_and_left_out(loss: str, start: int) -> None:
    losses = measured(0.2, runs=2)
    run = losses.index[(losses["ratio"] == 3 / 4) & (losses["seed"] == 1)]
    losses.loc[run[start:], loss] += np.geomspace(0.5, 8, 20 - start)
    found = looked_at(losses)
    assert len(found.points) == len(RATIOS) * 40 - 20
    assert len(found.notes) == 1
    assert found.notes[0].startswith("R = 3/4, seed 1")
    assert f"rows {run[0]} to {run[-1]}" in found.notes[0]


def test_forgetting_at_the_largest_ratio_is_no_explosion() -> None:
    losses = measured(0.01)
    at_most = losses["ratio"] == 3 / 4
    losses.loc[at_most, "general_loss"] += 0.2 * (losses["tokens"] / 100) ** 0.4
    assert looked_at(losses).notes == ()


@pytest.mark.parametrize("place", [0, 1, 9, 18, 19])
@pytest.mark.parametrize("size", [8.0, 0.1, -0.1])
def test_an_outlying_point_is_named_and_left_out(place: int, size: float) -> None:
    losses = measured(0.2)
    row = losses.index[losses["ratio"] == 1 / 2][place]
    losses.loc[row, "general_loss"] += size
    found = looked_at(losses)
    assert len(found.points) == len(RATIOS) * 20 - 1
    assert f"(row {row})" in found.notes[0]


def test_a_copied_run_counts_once() -> None:
    losses = measured(0.2)
    both = pd.concat([losses, losses[losses["tokens"] > 0].assign(seed=7)], ignore_index=True)
    found = looked_at(both)
    assert len(found.points) == len(RATIOS) * 20
    assert "seed 7 has exactly the losses of seed 0" in found.notes[0]


def test_long_runs_are_condensed_to_the_same_course() -> None:
    clean = measured(0.2, points=3000, rho=0.5)
    found = looked_at(clean)
    assert len(RATIOS) * 45 < len(found.points) <= len(RATIOS) * 60
    assert "condensed" in found.notes[0]
    last = found.points[found.points["tokens"] == 100]
    assert last["ratio"].tolist() == list(RATIOS)
    base = clean.loc[0, "general_loss"] - 2.9
    tokens, ratio = found.points["tokens"], found.points["ratio"]
    apart = found.points["general"] + base - 0.2 * ratio * (tokens / 100) ** 0.4
    # A weight of 1 stands for 3000 points over so many groups; AR(1) noise makes their means three times as variable.
    noise = NOISE * np.sqrt(np.minimum(1, 3 / (50 * found.points["weight"])))
    assert (np.abs(apart) / noise).max() < 8
    assert last["general"].to_numpy() + base == pytest.approx(0.2 * np.array(RATIOS), abs=6 * NOISE * np.sqrt(3 / 50))
    assert tokens.min() < 0.1


def test_condensed_runs_tell_turning_points_as_well_as_all_their_points(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = measured(0.0, points=1500)
    share = losses["tokens"] / 100
    losses["general_loss"] += losses["ratio"] * (0.2 * share**0.2 - 0.08 * share)
    losses = losses[losses["ratio"].isin([0, 1 / 8, 1 / 4, 3 / 4])]
    widths = []
    for most in (quality.DENSE, 10**6):
        monkeypatch.setattr(quality, "DENSE", most)
        intervals = [item.turning_point.interval for item in analyse(losses, bootstrap=100).groups[0].token_laws]
        widths.append(np.array([high - low for low, high in filter(None, intervals)]))
    assert np.exp(np.mean(np.log(widths[0] / widths[1]))) < 1.1


def test_rows_are_named_in_words() -> None:
    assert [named(range(n), "line") for n in (1, 2, 12)] == [
        "line 0",
        "lines 0 and 1",
        "lines 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more",
    ]
