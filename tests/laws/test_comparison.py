"""Alternatives to the laws, and their comparison by AICc and held-out error."""

import numpy as np
import pandas as pd
import pytest

from repro.laws import DOMAIN_TOKEN_LAW, RATIO_LAW, Law, Linear, analyse, increments
from repro.laws.cmr.laws import CMR_LAWS, DOMAIN_TOKEN_LAWS, GENERAL_TOKEN_LAWS, RATIO_LAWS
from repro.laws.comparison import compare
from repro.trust.frames import alternatives

T = np.linspace(4, 100, 25)
TRUTHS = [
    (DOMAIN_TOKEN_LAWS, -0.7 + 1.2 * T**-0.3),
    (DOMAIN_TOKEN_LAWS, -0.3 * np.log(T)),
    (DOMAIN_TOKEN_LAWS, -0.5 + 0.5 * np.exp(-0.1 * T)),
    (GENERAL_TOKEN_LAWS, T**0.1 - 0.2 * T**0.9),
    (GENERAL_TOKEN_LAWS, 0.1 * T**0.4),
    (GENERAL_TOKEN_LAWS, 0.1 * T**0.5 * (1 - 0.15 * np.log(T))),
    (GENERAL_TOKEN_LAWS, 0.1 * np.log(T) - 0.02 * np.log(T) ** 2),
    (CMR_LAWS, 0.1 + 0.02 * T),
]
NAMES = [0, 1, 2, 0, 1, 2, 3, 2]


@pytest.mark.parametrize(("laws", "truth", "name"), [(*case, name) for case, name in zip(TRUTHS, NAMES, strict=True)])
def test_the_true_law_wins_or_nearly(laws: tuple, truth: np.ndarray, name: int) -> None:
    spread = 1e-4 * np.ptp(truth)
    found = compare(laws, T, truth + spread * np.random.default_rng(0).standard_normal(len(T)))
    assert found["delta_aicc"][0] == 0 and (np.diff(found["aicc"]) >= 0).all()
    assert found["weight"].sum() == pytest.approx(1)
    true = found.set_index("law").loc[laws[name].name]
    assert true["delta_aicc"] < 4  # a law that contains the true one may win by chance
    assert true["held_out"] == pytest.approx(spread, rel=0.5)
    assert found["held_out"].max() > 5 * spread


def test_the_exponential_contains_the_straight_line() -> None:
    (exponential,) = [law for law in RATIO_LAWS if law.name == "exponential in R"]
    x = np.array([0.1, 0.2, 0.4, 0.6, 0.9])
    assert exponential.fit(x, 2 - 3 * x).params == pytest.approx({"k": 0, "alpha": -3, "beta": 2}, abs=1e-6)
    truth = {"k": -2.5, "alpha": -3.0, "beta": 2.0}
    assert exponential.fit(x, exponential.evaluate(truth, x)).params == pytest.approx(truth, rel=1e-6)


def test_columns_and_goodness() -> None:
    y = RATIO_LAW.evaluate({"s": -0.5, "alpha": 0.2, "beta": 1}, T / 110) + 0.01 * np.sin(T)
    row = compare([RATIO_LAW], T / 110, y).iloc[0]
    fit = RATIO_LAW.fit(T / 110, y)
    for name in ("n", "sse", "rse", "aicc"):
        assert row[name] == pytest.approx(getattr(fit, name))
    assert row["parameters"] == 3 and row["weight"] == 1


def test_held_out_by_hand() -> None:
    y = 1.2 * T**-0.3 + 0.01 * np.sin(T)
    tail = DOMAIN_TOKEN_LAW.fit(T[:20], y[:20])
    found = compare([DOMAIN_TOKEN_LAW], T, y, held_out="tail")["held_out"][0]
    assert found == pytest.approx(np.sqrt(np.mean((y[20:] - tail.predict(T[20:])) ** 2)))
    half = np.arange(25) % 2
    parts = [(y[half == k] - DOMAIN_TOKEN_LAW.fit(T[half != k], y[half != k]).predict(T[half == k])) for k in (0, 1)]
    found = compare([DOMAIN_TOKEN_LAW], T, y, groups=half)["held_out"][0]
    assert found == pytest.approx(np.sqrt(np.mean(np.concatenate(parts) ** 2)))


def test_too_few_points_are_said() -> None:
    found = compare(RATIO_LAWS, [0.1, 0.2, 0.4, 0.8], [1.0, 0.7, 0.6, 0.5])
    assert np.isposinf(found["aicc"]).all() and found["weight"].isna().all()
    assert all(any("too few for the AICc" in text for text in texts) for texts in found["warnings"])
    found = compare(RATIO_LAWS, [0.1, 0.2], [1.0, 0.7]).set_index("law")
    assert np.isnan(found.loc[RATIO_LAW.name, "sse"])
    assert found.loc[RATIO_LAW.name, "warnings"] == ("2 points cannot determine 3 parameters",)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="different names"):
        compare([RATIO_LAW, RATIO_LAW], T, T)
    with pytest.raises(ValueError, match="equally long"):
        compare(RATIO_LAWS, T, T, groups=[1, 2])
    with pytest.raises(ValueError, match="'one' or 'tail'"):
        compare(RATIO_LAWS, T, T, held_out="half")  # type: ignore[arg-type]


def test_alternatives_are_judged_on_every_curve() -> None:
    rng = np.random.default_rng(0)
    frames = []
    for ratio in (0.125, 0.25, 0.5, 0.75):
        domain = {"alpha1": ratio, "s1": -0.4, "beta1": -1.5 * ratio}
        general = {"alpha2": 0.1 * ratio, "s2": 0.3, "alpha3": -0.006, "s3": 0.8, "beta2": 0.0}
        grown = increments(domain, general, np.r_[0, T])
        noise = 1e-4 * rng.standard_normal((2, len(T) + 1))
        frames.append(pd.DataFrame({
            "ratio": ratio, "tokens": 1e6 * np.r_[0, T],
            "general_loss": 2 + grown["general"] + noise[0], "domain_loss": 3 + grown["domain"] + noise[1],
        }))  # fmt: skip
    found = alternatives(analyse(pd.concat(frames))).set_index(["kind", "law"])
    assert found.loc[("token domain", DOMAIN_TOKEN_LAW.name), "aicc_wins"] == 4
    assert (found.loc["ratio general", "aicc_judged"] == 0).all() and (found.loc["ratio general", "curves"] == 1).all()
    wins = found.groupby(level="kind")[["aicc_wins", "held_out_wins"]].sum()
    judged = found.groupby(level="kind")[["aicc_judged", "held_out_judged"]].first()
    assert (wins.to_numpy() == judged.to_numpy()).all()
    assert found.loc[("token general", GENERAL_TOKEN_LAWS[0].name), "median_held_out"] < 5e-4


def test_known_errors_judge_the_sum_of_squares_by_their_own_size() -> None:
    """Points that lie closer to every law than their errors allow are no evidence for the law with most parameters."""
    x = np.arange(1.0, 17.0)
    quiet = 0.2 * np.sin(3 * x)
    line = Law("line", "a", (), (Linear("a"), Linear("b")), lambda x: (x, 1.0))
    level = Law("level", "b", (), (Linear("b"),), lambda x: (1.0 + 0 * x,))
    y = 0.03 * x + quiet
    estimated, known = compare((line, level), x, y), compare((line, level), x, y, np.ones(16), known=True)
    assert estimated["law"].iloc[0] == "line" and known["law"].iloc[0] == "level"
    by_hand = float(np.sum((y - y.mean()) ** 2)) + 2  # AIC: there is no estimated variance to correct for
    assert known.attrs["criterion"] == "AIC" and estimated.attrs["criterion"] == "AICc"
    assert known.set_index("law")["aicc"]["level"] == pytest.approx(by_hand)
    loud = compare((line, level), x, 20 * y, np.ones(16), known=True)
    fullest = loud.set_index("law").loc["line"]
    # Inflated until it leaves what its errors allow; the inflation is a parameter, and the correction is back.
    assert fullest["aicc"] == pytest.approx(14 + 6 + 2 * 3 * 4 / 12)
    assert loud.attrs["criterion"] == "QAICc"


def test_known_errors_judge_few_points() -> None:
    """With five points and a clear slope, the small-sample term would hide what known errors show."""
    x = np.arange(1.0, 6.0)
    parabola = Law("parabola", "a", (), (Linear("a"), Linear("b"), Linear("c")), lambda x: (x**2, x, 1.0))
    level = Law("level", "b", (), (Linear("b"),), lambda x: (1.0 + 0 * x,))
    y = 3.0 * (x - 3) ** 2 + 0.5 * np.sin(3 * x)
    found = compare((parabola, level), x, y, np.ones(5), known=True)
    assert found["law"].iloc[0] == "parabola" and np.isfinite(found["aicc"]).all()
    assert not any("too few" in text for texts in found["warnings"] for text in texts)
