"""What pages say of a study holds for every study that may be run: many sizes or one, any ratios, any seeds."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.studies import DISTANCES, STUDIES, results
from repro.cmr import facts, paper
from repro.cmr.frames import DomainResults


def pretraining(sizes: int, seeds: int) -> pd.DataFrame:
    """Losses of sizes and seeds, each falling, larger sizes lower; seed by seed as a study gives them."""
    return pd.DataFrame([
        {"size": f"0.{size + 1}M", "seed": seed, "tokens": tokens, "general_loss": 7 - tokens / 1e6 - 0.1 * size + seed}
        for size in range(sizes) for seed in range(seeds) for tokens in (0, 1_000_000, 2_000_000)
    ])  # fmt: skip


def said(values: dict[str, Any]) -> None:
    """Every value may be glued, and no phrase lets a missing number through."""
    for name, value in values.items():
        assert value is not None and value == value, name
        assert not re.search(r"\bnan\b|\binf\b|None", str(value)), f"{name}: {value}"
        assert str(value).strip(), name


@pytest.mark.parametrize(
    ("name", "bootstrap"), [*((name, 0) for name in STUDIES), ("full", 30), ("three seeds", 30), ("few points", 30)]
)
def test_every_fact_can_be_said_of_every_study(name: str, bootstrap: int) -> None:
    ours, near = results(name, bootstrap=bootstrap), results(name, "near", bootstrap)
    ratio = facts.ratio(ours)
    assert set(ratio) == {"our_domain", "our_general", "end_of_law"}
    said(ratio)
    said(facts.trade_off(ours))
    said(facts.tokens(ours))
    said(facts.critical(ours))
    said(facts.second(ours, near, DISTANCES))
    settings = STUDIES[name]
    said(facts.pretraining(pretraining(settings.get("sizes", 2), settings.get("seeds", 1))))
    assert facts.trade_off(ours).keys() == facts.trade_off(results("full")).keys()


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ([10, 20, 30], "at every size"),
        ([10, 20, np.nan], "at every size"),
        ([10, 30, 20], "does not always .* 0.2M .at R = 1/2"),
        ([np.nan, 20, 30], "0.2M .at R = 1/4"),
        ([np.nan, np.nan, 30], "0.2M .at R = 1/2"),
        ([0, 0, 30], "0.2M .at R = 1/4"),
        ([10, np.nan, np.nan], "too few"),
        ([np.nan] * 3, "too few turning points to tell"),
    ],
)
def test_turning_points_are_in_order_only_if_there_are_some(times: list[float], says: str) -> None:
    points = pd.DataFrame({"size": "0.2M", "ratio": [1 / 8, 1 / 4, 1 / 2], "t": times})
    order = facts.turning_order(pd.concat([points, points.assign(size="0.3M")]))
    assert re.search(says, order)
    mixed = facts.turning_order(
        pd.concat([points.assign(t=[10, np.nan, np.nan]), points.assign(size="b", t=[1, 2, 3])])
    )
    assert mixed == "The turning point comes later as R grows at every other size (too few ratios turn to tell at 0.2M)"
    some = facts.turning_order(pd.concat([points.assign(t=[10, 5, 20]), points.assign(size="b", t=[1, 2, 3])]))
    assert some == "The turning point comes later as R grows, except at 0.2M (at R = 1/4)"


@pytest.mark.parametrize(
    ("mixed", "alone", "says"),
    [
        ([0.1, 0.1], [0.2, 0.4], "ends 2.0 to 4.0 times as far above its start as at R = 3/4"),
        ([0.1, -0.02], [0.2, 0.4], "ends +0.200 to +0.400 nats from its start, against -0.020 to +0.100 at R = 3/4"),
        ([0.1, 0.0], [0.2, 0.2], "ends +0.200 nats from its start, against +0.000 to +0.100 at R = 3/4"),
        ([np.nan, np.nan], [0.2, 0.2], "is not known here, because there are no such runs"),
    ],
)
def test_without_replay_compares_only_what_can_be_compared(mixed: list[float], alone: list[float], says: str) -> None:
    sizes = ["a", "b"]
    ends = pd.concat([
        pd.DataFrame({"size": sizes, "ratio": 0.75, "general": mixed}),
        pd.DataFrame({"size": sizes, "ratio": 1.0, "general": alone}),
    ])  # fmt: skip
    assert facts.no_replay(ends) == says


def test_the_held_out_ratio_says_what_it_rests_on() -> None:
    def of(name: str) -> str:
        return str(facts.ratio(results(name))["our_domain"])

    assert re.fullmatch(
        r"is predicted to \d\.\d+% on average over 2 sizes \(from 4 other ratios\), every time too low", of("full")
    )
    assert of("two ratios") == "cannot be predicted here: R = 1/4 was not run"
    assert of("small ratios") == "cannot be predicted here: there are too few other ratios"
    says = facts.predicted(paper.held_out().points)
    assert says == "is predicted to 0.0049% on average over 4 sizes (from 4 other ratios)"


def trend(values: list[float], half: float = np.nan) -> str:
    """What is said of critical ratios by turning point, each known to within ``half``."""
    at = np.array(values)
    found = pd.DataFrame({
        "critical_ratio": at, "turning_lower": at - half, "turning_upper": at + half, "tolerance_ratio": np.nan,
        "tolerance_lower": np.nan, "tolerance_upper": np.nan, "both": at, "both_lower": at - half,
        "both_upper": at + half,
    })  # fmt: skip
    return facts.size_trend(found).split(";")[0]


@pytest.mark.parametrize(
    ("values", "half", "says"),
    [
        ([0.2, 0.3, 0.4], 0.06, "throughout, and the interval of the largest lies wholly above that of the smallest "
         "(those of neighbouring sizes overlap in two of two steps)"),
        ([0.2, 0.3, 0.4], 0.01, "above that of the smallest (those of neighbouring sizes overlap nowhere)"),
        ([0.2, 0.3], 0.01, "throughout, and the interval of the largest lies wholly above that of the smallest"),
        ([0.2, 0.3, 0.25], 0.03, "it grows in 1 of 2 steps from one size to the next, but the intervals of the "
         "smallest and the largest overlap, so that this may be noise"),
        ([0.4, 0.3, 0.2], 0.01, "lies wholly below that of the smallest (those of neighbouring sizes overlap nowhere)"),
        ([0.2, np.nan, 0.4], 0.01, "over the 2 of 3 sizes that have one, and the interval of the largest lies wholly "
         "above that of the smallest"),
        ([0.2, 0.3], np.nan, "throughout, but not every size has an interval to judge this by"),
        ([0.2, np.nan], 0.01, "by turning point, by tolerance and by both too few sizes have one to tell"),
        ([0.2], 0.01, "there is only one size, so nothing can be said"),
    ],
)  # fmt: skip
def test_a_trend_over_sizes_is_judged_by_the_intervals(values: list[float], half: float, says: str) -> None:
    assert trend(values, half).endswith(says)


@pytest.mark.parametrize(
    ("half", "says"),
    [(0.2, "40.0% (20.0 to 60.0) against 30.0% (10.0 to 50.0), but the intervals overlap"),
     (0.01, "40.0% (39.0 to 41.0) against 30.0% (29.0 to 31.0), and the intervals do not overlap"),
     (np.nan, "40.0% against 30.0%, without intervals to judge this by")],
)  # fmt: skip
def test_two_domains_are_told_apart_by_the_intervals(half: float, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(ours: DomainResults) -> pd.DataFrame:
        domain = ours.analysis.groups[0].domain
        at = 0.4 if domain == "near" else 0.3
        row = {"domain": domain, "critical_ratio": at, "tolerance_ratio": np.nan, "both": np.nan}
        ends = {f"{name}_{end}": np.nan for name in ("tolerance", "both") for end in ("lower", "upper")}
        return pd.DataFrame([row | ends | {"turning_lower": at - half, "turning_upper": at + half}])

    monkeypatch.setattr(DomainResults, "critical_ratios", found)
    told = facts.second(results("full"), results("full", "near"), DISTANCES)
    assert told["turning_verdict"] == f"it is larger for the nearer domain, {says}"
    assert told["tolerance_verdict"] == "it does not exist for either domain, so there is nothing to compare"


def test_intervals_say_what_they_rest_on() -> None:
    one, many, none = (
        facts.critical(results(name, bootstrap=draws))
        for name, draws in (("full", 30), ("three seeds", 30), ("full", 0))
    )
    assert "put on the fitted curve 30 times" in str(one["drawn"])
    assert "one seed" in str(one["holds"])
    assert "The runs of each seed" in str(many["drawn"])
    assert "from seed to seed is in the intervals" in str(many["holds"])
    assert str(none["drawn"]).startswith("There are no intervals here")
    assert "no bootstrap" in str(facts.tokens(results("full"))["known"])
    assert "of the range it may lie in" in str(facts.tokens(results("full", bootstrap=30))["known"])


def test_warnings_are_a_list_a_notebook_can_show() -> None:
    shown = facts.warnings(results("two ratios"))
    assert shown._repr_html_().count("<li>") == len(shown.items) > 0
    assert "R = 1/8" in shown._repr_markdown_() or "ratios" in shown._repr_markdown_()
    assert "&lt;b&gt;" in facts.Bullets(("<b>",))._repr_html_()
    assert facts.Bullets(())._repr_markdown_() == "None."
    assert facts.Bullets(())._repr_html_() == "<p>None.</p>"


def test_pretraining_is_a_mean_over_seeds() -> None:
    told = facts.pretraining(pretraining(sizes=2, seeds=3))
    assert told["smallest_loss"] == pytest.approx(7 - 2 + 1), "seeds end at 5, 6 and 7"
    assert told["size_order"] == "every larger model ends lower"
    assert told["still_falling"] == "all curves still fall"
    assert told["seeds"] == "three seeds"
    one = facts.pretraining(pretraining(sizes=1, seeds=1))
    assert one["size_order"] == "there is only one size to look at"
    assert one["still_falling"] == "the one curve still falls"


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ([92_000, 330_000], "about 5,000 to 9,300 times smaller than the paper's"),
        ([461_000_000, 3_060_000_000], "as large as the paper's"),
        ([46_100_000], "about 10 to 66 times smaller than the paper's"),
        ([6_000_000_000], "about 2 to 13 times larger than the paper's"),
        ([461_000_000, 6_120_000_000], "about 1 to 2 times the size of the paper's"),
    ],
)
def test_sizes_are_compared_with_the_papers(parameters: list[int], says: str) -> None:
    told = facts.shapes(pd.DataFrame({"size": list(map(str, parameters)), "parameters": parameters}))
    assert told["times_smaller"] == says
    assert told["sizes"] == ["one", "two"][len(parameters) - 1]


def test_the_papers_own_numbers() -> None:
    offsets = facts.published_offsets()
    assert offsets["largest_alpha1"] == 265.17268
    assert offsets["its_s1"] == -0.00018
    assert float(offsets["offset_31b"]) > 4 * float(offsets["offset_others"])
    refits = facts.published_ratio()
    assert float(refits["refit"]) < float(refits["refit_interior"]) < float(refits["printed_error"])
    order = facts.critical(results("full"))["published_order"]
    assert order == "the turning point comes later as R grows at every size"


def rises(*sizes: list[float]) -> pd.DataFrame:
    """Increments at the end of training of each size, at R = 1/4 and R = 1/2."""
    rows = [(str(place), ratio, value) for place, values in enumerate(sizes)
            for ratio, value in zip((0.25, 0.5), values, strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["size", "ratio", "general"])


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        (rises([0.3, 0.4], [0.2, 0.3], [-0.1, 0.2]), "the larger the model, the lower, at every ratio"),
        (
            rises([0.3, 0.2], [0.2, 0.3], [0.1, 0.1]),
            "the larger the model, the lower, at R = 1/4; lower for the largest model than for the smallest, but not "
            "from each size to the next, at R = 1/2",
        ),
        (rises([0.3, 0.1], [0.3, 0.2]), "not lower for the largest model than for the smallest, at every ratio"),
        (rises([0.3, np.nan], [0.1, 0.2]), "the larger the model, the lower, at R = 1/4"),
        (rises([0.3, np.nan], [np.nan, 0.2]), "no ratio was run at every size"),
        (rises([0.3, 0.1]), "there is only one size"),
    ],
)
def test_what_a_larger_model_pays(ends: pd.DataFrame, says: str) -> None:
    assert facts.by_size(ends) == says


def test_what_binds_is_said_at_every_tolerance() -> None:
    ours = results("full")
    found = ours.tolerances()
    assert sorted(set(found["epsilon"])) == sorted({0.02, 0.05, 0.1, ours.epsilon})
    own = found[found["epsilon"] == ours.epsilon].set_index("size")
    critical = ours.critical_ratios().set_index("size")
    for column in ("tolerance_ratio", "tolerance_lower", "tolerance_upper", "critical_ratio"):
        pd.testing.assert_series_equal(own[column], critical[column])
    smaller = np.where(critical["tolerance_ratio"] < critical["critical_ratio"], "tolerance", "turning point")
    assert own["binds"].tolist() == list(smaller)
    assert found.groupby("size")["tolerance_ratio"].is_monotonic_increasing.all(), "more is allowed, more fits"
    rows = pd.DataFrame({"size": [*"abab"], "epsilon": [0.02, 0.02, 0.05, 0.05],
                         "binds": ["tolerance", "tolerance", None, "turning point"]})  # fmt: skip
    assert facts.binding(rows, 0.05) == (
        "in ours the tolerance decides at none of one size for which that is known (2 of 2 at \u03b5 = 0.02)"
    )
    assert facts.binding(rows, 0.1) == "in ours no size has both ratios, so which of them limits it cannot be said"


def test_a_tolerance_that_no_ratio_keeps_is_what_binds() -> None:
    found = results("full").tolerances(among=(-1.0,))
    assert found.loc[found["epsilon"] == -1, "tolerance_ratio"].isna().all()
    assert found.loc[found["tolerance_ratio"].isna(), "binds"].eq("tolerance").all()


def test_corpora() -> None:
    rows = [("general", "training", 100, 1.5), ("general", "replay", 20, 0.5), ("far", "training", 50, 1.0)]
    parts = pd.DataFrame(rows, columns=["corpus", "part", "tokens", "epochs"]).assign(near_duplicates=3)
    told = facts.corpora(parts, DISTANCES.iloc[:2])
    said(told)
    assert told["shares"] == "none of the general text comes from the source of far"
    assert told["nearest_first"] == "general, kept < far"
    assert told["dropped"] == "3 from general and 3 from far"


def test_the_control_is_told_beside_the_smallest_mixture() -> None:
    ends = results("with the control").analysis.curves([100.0])
    found = facts.control(ends)
    assert found.startswith("ends -0.0")
    assert found.endswith(" at R = 1/8")
    assert facts.control(ends[ends["ratio"] > 0]) == "is not known here, because there are no such runs"
