"""Turning points, feasible ratios, critical ratios: the paper's own numbers, and frames of known truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from repro.laws import CMR_LAW, GENERAL_TOKEN_LAW, TurningPoint, analyse, turning_point
from repro.laws.cmr.critical import Bound, Critical, Ends, by_tolerance, by_turning_point, difference
from repro.laws.cmr.laws import LAGRANGE, RATIO_LAW

# Table 4 of the paper, ratio: (alpha2, s2, alpha3, s3, beta2, alpha1, s1, beta1) in the names of Equation 6.
# The table heads these columns alpha1 s1 alpha2 s2 beta1 (general) and alpha3 s3 beta2 (domain).
TABLE_4 = {
    "460M": {
        1 / 2: (0.12446, 0.57575, -0.12123, 0.57941, 0.00050, 227.06960, -0.00023, -227.23919),
        1 / 3: (0.11761, 0.53594, -0.11471, 0.53971, 0.00002, 97.25206, -0.00050, -97.40981),
        1 / 4: (0.14030, 0.51526, -0.13758, 0.51836, -0.00018, 24.62425, -0.00190, -24.77263),
        1 / 8: (0.13055, 0.48615, -0.12803, 0.48955, -0.00055, 0.71989, -0.08343, -0.81231),
    },
    "940M": {
        1 / 2: (0.09454, 0.57282, -0.09209, 0.57654, 0.00101, 258.06226, -0.00019, -258.34505),
        1 / 3: (0.10418, 0.52619, -0.10186, 0.52970, 0.00063, 248.51191, -0.00018, -248.78323),
        1 / 4: (0.11006, 0.51700, -0.10785, 0.52040, 0.00046, 222.52376, -0.00020, -222.78786),
        1 / 8: (0.12685, 0.48822, -0.12468, 0.49141, 0.00013, 129.70296, -0.00031, -129.94852),
    },
    "1.6B": {
        1 / 2: (0.07899, 0.57219, -0.07702, 0.57587, 0.00084, 258.78683, -0.00017, -258.94316),
        1 / 3: (0.08952, 0.54505, -0.08764, 0.54858, 0.00050, 133.08715, -0.00032, -133.23264),
        1 / 4: (0.08747, 0.53775, -0.08564, 0.54152, 0.00034, 4.92547, -0.00864, -5.06034),
        1 / 8: (0.10378, 0.51241, -0.10198, 0.51585, 0.00007, 210.06851, -0.00018, -210.18657),
    },
    "3.1B": {
        1 / 2: (0.06324, 0.52050, -0.06100, 0.52592, 0.01093, 156.20051, -0.00027, -156.50271),
        1 / 3: (0.08406, 0.51263, -0.08187, 0.51724, 0.01056, 128.57034, -0.00031, -128.86546),
        1 / 4: (0.08084, 0.51463, -0.07866, 0.51973, 0.01034, 133.03230, -0.00028, -133.32244),
        1 / 8: (0.09549, 0.49146, -0.09320, 0.49629, 0.01001, 7.55302, -0.00463, -7.82759),
    },
}
DOMAIN = {"alpha1": -0.4, "s1": 0.2, "beta1": 0.0}


def printed(size: str, ratio: float) -> tuple[dict[str, float], dict[str, float]]:
    a2, s2, a3, s3, b2, a1, s1, b1 = TABLE_4[size][ratio]
    domain = {"alpha1": a1, "s1": s1, "beta1": b1}
    return domain, {"alpha2": a2, "s2": s2, "alpha3": a3, "s3": s3, "beta2": b2}


def general(turn: float, height: float = 0.02, s2: float = 0.3, s3: float = 0.8) -> dict[str, float]:
    """A general curve from 0 at T = 0 that peaks at ``turn`` with ``height``."""
    weight = s2 / s3 * turn ** (s2 - s3)
    top = turn**s2 - weight * turn**s3
    return {"s2": s2, "s3": s3, "alpha2": height / top, "alpha3": -weight * height / top, "beta2": 0.0}


def point(params: dict[str, float], lagrange: float = math.inf, **settings: float) -> TurningPoint:
    return turning_point(DOMAIN, params, lagrange=lagrange, t_max=100, **settings)


@pytest.mark.parametrize(("ratio", "t"), [(1 / 8, 39.8), (1 / 4, 79.9), (1 / 3, 117.1), (1 / 2, 233.5)])
def test_turning_points_of_table_4(ratio: float, t: float) -> None:
    domain, params = printed("460M", ratio)
    assert turning_point(domain, params, lagrange=math.inf, t_max=100).value == pytest.approx(t, abs=0.05)
    assert turning_point(domain, params, lagrange=LAGRANGE, t_max=100).value == pytest.approx(t, rel=0.006)
    early = turning_point(domain, params, lagrange=100, t_max=100).value
    assert early is not None and early < 0.95 * t


@pytest.mark.parametrize(("size", "cmr"), [("460M", 0.298), ("940M", 0.354), ("1.6B", 0.410), ("3.1B", 0.481)])
def test_critical_ratios_of_table_4(size: str, cmr: float) -> None:
    points = []
    for ratio in TABLE_4[size]:
        domain, params = printed(size, ratio)
        points.append((ratio, turning_point(domain, params, lagrange=math.inf, t_max=100)))
    found, _ = by_turning_point(points, 100)
    assert found.value == pytest.approx(cmr, abs=0.0006)


def test_root_is_the_numeric_maximum() -> None:
    params = general(37.5)
    found = point(params).value
    times = np.linspace(1, 100, 200_001)
    peak = times[np.argmax(GENERAL_TOKEN_LAW.evaluate(params, times))]
    assert found == pytest.approx(37.5, rel=1e-9)
    assert found == pytest.approx(peak, abs=1e-3)


def test_status_changes_at_the_end_and_at_the_horizon() -> None:
    assert point(general(99.9)).status == "inside"
    assert point(general(100.1)).status == "extrapolated"
    assert point(general(999.0)).status == "extrapolated"
    assert point(general(1001.0)) == TurningPoint(None, "none")


def test_curves_without_a_turn() -> None:
    rising = {"s2": 0.3, "s3": 0.8, "alpha2": 0.01, "alpha3": 0.001, "beta2": 0.0}
    falling = {name: -value if name.startswith("alpha") else value for name, value in rising.items()}
    valley = {name: -value if name.startswith("alpha") else value for name, value in general(50).items()}
    assert point(rising) == TurningPoint(None, "none")
    assert point(falling) == TurningPoint(0.0, "inside")
    assert point(valley) == TurningPoint(None, "none")


def test_turning_point_refuses() -> None:
    with pytest.raises(ValueError, match="lagrange > 0"):
        point(general(50), lagrange=0)
    with pytest.raises(ValueError, match="not finite"):
        point({**general(50), "alpha2": math.nan})
    with pytest.raises(ValueError, match="no value for s3"):
        turning_point(DOMAIN, {"s2": 0, "alpha2": 1, "alpha3": 1, "beta2": 0}, lagrange=1, t_max=1)


def pairs(*found: tuple[float, float]) -> list[tuple[float, TurningPoint]]:
    return [(ratio, TurningPoint(t, "inside")) for ratio, t in found]


def test_equation_8_needs_growing_turning_points() -> None:
    few, warnings = by_turning_point(
        [*pairs((0.1, 20), (0.2, 50), (0.05, 0.0)), (1.0, TurningPoint(None, "none"))], 100
    )
    assert few.law is None and few.value is not None and 0.2 < few.value < 1
    assert "interpolated" in warnings[0] and "2 ratios have a turning point" in warnings[0]
    three, warnings = by_turning_point(pairs((0.1, 20), (0.2, 50), (0.3, 130)), 100)
    assert three.value is not None and 0.2 < three.value < 0.3
    assert any("passes through its three" in text for text in warnings)
    mixed, warnings = by_turning_point(pairs((0.1, 20), (0.2, 60), (0.3, 55), (0.4, 130)), 100)
    assert mixed.value is not None
    assert any("do not grow" in text for text in warnings)
    falling, warnings = by_turning_point(pairs((0.1, 130), (0.2, 60), (0.3, 55), (0.4, 20)), 100)
    assert falling.value is None and falling.law is not None
    assert any("falls with T" in text for text in warnings)
    far, warnings = by_turning_point(pairs((0.1, 20), (0.2, 30), (0.3, 39), (0.4, 47)), 500)
    assert (far.value, far.bound) == (0.4, "at least")
    assert any("at least 2/5" in text for text in warnings) and any("extrapolated" in text for text in warnings)
    none, warnings = by_turning_point(pairs((0.1, 300), (0.2, 330), (0.3, 361), (0.4, 390)), 100)
    assert (none.value, none.bound) == (0.1, "at most")
    assert any("at most 1/10" in text for text in warnings)


def test_tolerance_crossing_and_its_ends() -> None:
    ratios = np.array([1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4])
    ends = Ends(ratios, 3.0 + 0.2 * ratios**2)
    law = RATIO_LAW.fit(ratios, ends.losses)
    crossing, warnings = by_tolerance(ends, law, 3.0, 0.04)
    assert crossing.value == pytest.approx(np.sqrt(0.2), rel=1e-6) and not warnings
    outside, warnings = by_tolerance(ends, law, 3.0, 0.001)
    assert (outside.value, outside.bound) == (1 / 8, "at most") and "exceeds" in warnings[0]
    everything, warnings = by_tolerance(ends, law, 3.0, 0.3)
    assert (everything.value, everything.bound) == (3 / 4, "at least") and "stays within" in warnings[0]
    nothing, warnings = by_tolerance(ends, None, 2.9, 0.05)
    assert nothing.value is None and "there is no L(R)" in warnings[0]


RATIOS = (1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1.0)
UNIT = 1e4  # tokens in one unit of T, so that T_max = 1M tokens
CMR_TRUTH = {"alpha4": 0.22, "s4": 0.27, "beta3": -0.48}


def truth_turn(ratio: float) -> float:
    return ((ratio - CMR_TRUTH["beta3"]) / CMR_TRUTH["alpha4"]) ** (1 / CMR_TRUTH["s4"])


def frame(size: str = "0.3M", noise: float = 0.0, seeds: int = 1, turns: bool = True) -> pd.DataFrame:
    """Losses whose turning points follow Equation 8 exactly (or never come), one base row for each seed."""
    rng = np.random.default_rng(5)
    t = np.arange(4, 101, 4)
    parts = []
    for seed in range(seeds):
        parts.append(pd.DataFrame({"ratio": [math.nan], "tokens": 0, "general_loss": 3 + seed, "domain_loss": 4.0}))
        for ratio in RATIOS:
            params = general(truth_turn(ratio), height=0.1 * ratio**2)
            rise = GENERAL_TOKEN_LAW.evaluate(params, t) if turns else 0.1 * ratio * t**0.3
            fall = -0.3 * ratio**0.5 * t**0.2
            parts.append(pd.DataFrame({
                "ratio": ratio, "tokens": t * UNIT,
                "general_loss": 3 + seed + rise + noise * rng.standard_normal(len(t)),
                "domain_loss": 4 + fall + noise * rng.standard_normal(len(t)),
            }))  # fmt: skip
        for part in parts:
            if "seed" not in part:
                part["seed"] = seed
    return pd.concat(parts, ignore_index=True).assign(size=size, domain="finance")


def test_analyse_finds_the_truth() -> None:
    result = analyse(frame(), lagrange=math.inf)
    (group,) = result.groups
    assert (group.size, group.domain, group.base.general, group.base.domain) == ("0.3M", "finance", 3.0, 4.0)
    assert (result.settings.t_max, result.settings.unit) == (1e6, 1e4)
    for laws in group.token_laws:
        assert laws.domain.params["s1"] == pytest.approx(0.2, rel=1e-6)
        if laws.turning_point.value is not None:
            assert laws.turning_point.value == pytest.approx(truth_turn(laws.ratio), rel=1e-5)
        else:
            assert truth_turn(laws.ratio) > 1000
    by_turn = group.critical_ratio.turning_point
    assert by_turn.value == pytest.approx(float(CMR_LAW.evaluate(CMR_TRUTH, 100)), rel=1e-5)
    assert by_turn.law is not None and by_turn.law.params == pytest.approx(CMR_TRUTH, rel=1e-3)
    inside = [laws.ratio for laws in group.token_laws if laws.turning_point.status == "inside"]
    assert list(group.feasible) == inside == [1 / 8, 1 / 4]
    assert group.ratio_law["domain"] is not None
    assert group.ratio_law["domain"].params["s"] == pytest.approx(0.5, rel=1e-6)
    tolerated = group.critical_ratio.tolerance.value
    law = group.ratio_law["general"]
    assert law is not None and law.n == 5
    assert tolerated is not None and float(law.predict(tolerated)) == pytest.approx(3.05, abs=1e-9)


def test_tolerance_empties_the_feasible_set() -> None:
    (group,) = analyse(frame(), epsilon=0.0).groups
    assert group.feasible == ()
    assert "no measured ratio is feasible" in group.warnings


def test_analyse_bears_noise_and_seeds() -> None:
    result = analyse(frame(noise=5e-5, seeds=2))
    (group,) = result.groups
    assert group.base.general == pytest.approx(3.5)
    assert {laws.general.n for laws in group.token_laws} == {50}
    assert group.critical_ratio.turning_point.value == pytest.approx(0.283, abs=0.03)


def test_general_loss_that_never_turns_invents_no_number() -> None:
    result = analyse(frame(turns=False), lagrange=math.inf)
    (group,) = result.groups
    assert {laws.turning_point.status for laws in group.token_laws} == {"none"}
    assert group.critical_ratio.turning_point.value is None
    assert group.critical_ratio.turning_point.law is None
    assert group.feasible == ()
    assert sum("does not turn" in text for text in group.warnings) == len(RATIOS)
    assert any("the critical-ratio law needs 3" in text for text in result.warnings)


def test_a_shorter_t_max_uses_only_what_came_before() -> None:
    losses = frame()
    result = analyse(losses, t_max=5e5, unit=UNIT, lagrange=math.inf)
    losses.loc[losses["tokens"] > 5e5, "general_loss"] += 1
    again = analyse(losses, t_max=5e5, unit=UNIT, lagrange=math.inf)
    critical = result.groups[0].critical_ratio.turning_point.value
    assert critical == pytest.approx(float(CMR_LAW.evaluate(CMR_TRUTH, 50)), rel=1e-4)
    assert again.groups[0].critical_ratio == result.groups[0].critical_ratio
    assert result.measured()["t"].max() == 200


def test_a_longer_t_max_is_predicted_and_said() -> None:
    (group,) = analyse(frame(), t_max=2e6, unit=UNIT, lagrange=math.inf).groups
    assert sum("ends before T_max" in text for text in group.warnings) == len(RATIOS)
    expected = 3 + float(GENERAL_TOKEN_LAW.evaluate(general(truth_turn(1 / 2), 0.1 / 4), 200))
    law = group.ratio_law["general"]
    assert law is not None and law.y[3] == pytest.approx(expected, abs=1e-6)


def test_too_little_data_is_none_with_a_warning() -> None:
    losses = frame()
    two = losses[losses["ratio"].isin([1 / 8, 1 / 4]) | (losses["tokens"] == 0)]
    (group,) = analyse(two[two["tokens"].isin([0, 400_000, 800_000, 1_000_000])]).groups
    assert group.token_laws == () and group.ratio_law == {"general": None, "domain": None}
    assert group.critical_ratio.turning_point.value is None and group.critical_ratio.tolerance.value is None
    assert any("too few for the token law" in text for text in group.warnings)
    assert any("no L(R) of the general loss" in text for text in group.warnings)


def test_curves_and_measured_share_their_columns() -> None:
    both = pd.concat([frame("0.3M"), frame("1.2M")], ignore_index=True)
    result = analyse(both, unit=5e3)
    drawn, measured = result.curves([0, 50, 150]), result.measured()
    columns = ["size", "domain_name", "ratio", "t", "general", "domain", "kind"]
    assert list(drawn.columns) == list(measured.columns) == columns
    assert [group.size for group in result.groups] == ["0.3M", "1.2M"]
    assert list(drawn["kind"][:3]) == ["fitted", "fitted", "extrapolated"]
    assert (drawn.loc[drawn["t"] == 0, ["general", "domain"]] == 0).all(axis=None)
    half = measured[(measured["t"] == 48) & (measured["ratio"] == 1 / 2)]["general"].to_numpy()
    near = result.curves(48).query("ratio == 0.5")["general"].to_numpy()
    assert near == pytest.approx(half, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="domain_loss"), "lack domain_loss"),
        (lambda f: f[f["tokens"] > 0], "no row with tokens = 0"),
        (lambda f: f[f["tokens"] == 0], "no row with tokens > 0"),
        (
            lambda f: f.assign(general_loss=f["general_loss"].where(f.index != 7)),
            "row 7: general_loss is nan",
        ),
        (lambda f: f.assign(ratio=f["ratio"].where(f.index != 9, 33.0)), "row 9: ratio is 33"),
        (lambda f: f.assign(tokens=f["tokens"].where(f.index != 4, -1)), "row 4: tokens is -1"),
    ],
)
def test_analyse_names_what_is_wrong(change: Callable[[pd.DataFrame], pd.DataFrame], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        analyse(change(frame()))


def test_optional_columns() -> None:
    (group,) = analyse(frame().drop(columns=["size", "domain", "seed"])).groups
    assert (group.size, group.domain) == ("model", "domain")
    with pytest.raises(ValueError, match="epsilon"):
        analyse(frame(), epsilon=-1)


def test_a_difference_pairs_the_draws_and_a_bound_leaves_it_open() -> None:
    def ratio(value: float | None, bound: Bound | None = None, **draws: list[float]) -> Critical:
        return Critical(value=value, bound=bound, draws=pd.DataFrame(draws) if draws else None)

    # Both vary by more than they lie apart, but together, as with the same held-out text.
    one, other = ratio(0.4, law=[0.3, 0.4, 0.5]), ratio(0.45, law=[0.36, 0.45, 0.54])
    value, ends = difference(one, other)
    assert value == pytest.approx(0.05) and ends == pytest.approx((0.04, 0.06))
    assert difference(one, ratio(0.45, "at least", law=[0.36, 0.45, 0.54]))[1] == pytest.approx((0.04, 1.0))
    assert difference(ratio(0.4, "at least", law=[0.3, 0.4, 0.5]), other)[1] == pytest.approx((-1.0, 0.06))
    assert difference(one, ratio(0.45))[1] is None
    assert np.isnan(difference(one, ratio(None))[0])
