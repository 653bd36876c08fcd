"""The paper's printed numbers: digit for digit, and what follows from them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from repro.cmr import published
from repro.lm.size import parameter_count, training_flops_per_token


def test_parameter_counts_of_table_1() -> None:
    table = published.table1().set_index("size")
    assert list(table.index) == ["460M", "940M", "1.6B", "3.1B"]
    counts = dict(table["parameters"])
    assert counts == {"460M": 461_620_224, "940M": 937_797_120, "1.6B": 1_577_551_872, "3.1B": 3_062_499_840}


def test_parameter_count_by_hand_on_a_tiny_model() -> None:
    embeddings, layer = 2 * 10 * 4, 4 * 4 * 4 + 3 * 4 * 6 + 2 * 4
    assert parameter_count(hidden=4, intermediate=6, layers=3, vocabulary=10) == embeddings + 3 * layer + 4


def test_a_dimension_must_be_positive() -> None:
    with pytest.raises(ValueError, match="layers must be positive, got 0"):
        parameter_count(hidden=4, intermediate=6, layers=0, vocabulary=10)


def test_flops_are_six_per_parameter_and_attention() -> None:
    assert training_flops_per_token(100, hidden=8, layers=2, sequence=16) == 600 + 12 * 2 * 8 * 16


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (published.table1, 4),
        (published.table2, 24),
        (published.table3, 96),
        (published.table4, 24),
        (published.table5, 4),
    ],
)
def test_tables_are_complete(table: Callable[[], pd.DataFrame], rows: int) -> None:
    frame = table()
    assert len(frame) == rows
    needed = frame.drop(columns="printed_difference", errors="ignore")
    assert needed.notna().all(axis=None)


@pytest.mark.parametrize("table", [published.table2, published.table3, published.table4])
def test_a_third_is_exactly_a_third(table: Callable[[], pd.DataFrame]) -> None:
    assert 1 / 3 in set(table()["ratio"])


def test_a_caller_cannot_spoil_the_cached_tables() -> None:
    table = published.table5()
    table.loc[:, "alpha4"] = 0.0
    assert published.table5()["alpha4"].iloc[0] == 0.22524761


def test_printed_difference_of_table_2_is_that_of_its_rows() -> None:
    seen = published.held_out_points().query("kind == 'held out, measured'").set_index("size")["value"]
    rows = published.held_out_predictions().set_index("size")
    error = (rows["loss"] / seen - 1).abs() * 100
    assert np.allclose(error, rows["printed_difference"], atol=0.0101)


def test_table_4_uses_the_names_of_equation_6() -> None:
    domain, general = published.coefficients("460M", 1 / 8)
    assert domain == {"alpha1": 0.71989, "s1": -0.08343, "beta1": -0.81231}
    assert general == {"alpha2": 0.13055, "s2": 0.48615, "alpha3": -0.12803, "s3": 0.48955, "beta2": -0.00055}
    with pytest.raises(KeyError, match=r"460M.*0\.9"):
        published.coefficients("460M", 0.9)


def test_domain_losses_of_tables_2_and_4_agree_on_differences_between_ratios() -> None:
    end = published.curves([100.0]).set_index(["size", "ratio"])["domain"]
    table = published.table2().query("kind == 'measured'").set_index(["size", "ratio"])["loss"]
    for size in published.sizes():
        base = [table[size, ratio] - end[size, ratio] for ratio in table[size].index]
        # Five printed decimals of an exponent next to a coefficient of 260 leave the increment open to 0.006.
        assert np.ptp(base) < 0.012, "the loss before training must not depend on the ratio"


def test_curves_cover_every_size_and_ratio_in_order() -> None:
    curves = published.curves([1.0, 100.0, 250.0])
    assert list(dict.fromkeys(curves["size"])) == published.sizes()
    assert set(curves["kind"]) == {"fitted", "extrapolated"}
    assert curves.groupby(["size", "ratio"]).size().eq(3).all()
    assert (curves.query("t == 250")["kind"] == "extrapolated").all()
    assert (published.curves([0.0])[["general", "domain"]] == 0).all(axis=None), (
        "by definition, though T^s has no value"
    )


def test_turning_points_move_later_as_the_ratio_grows_and_match_table_5() -> None:
    points = published.turning_points()
    assert list(points["size"].unique()) == published.sizes()
    low = points[points["ratio"] <= 0.5]
    assert low.groupby("size")["t"].apply(lambda t: t.is_monotonic_increasing).all()
    small = low[low["size"] == "460M"]["t"]
    assert np.allclose(small, [39.8, 79.9, 117.1, 233.5], rtol=0.01)
    assert points.query("ratio == 1")["t"].isna().all()
    assert (points["t"].isna() == (points["status"] == "none")).all()


def test_equation_8_gives_the_printed_critical_ratios() -> None:
    at_end = published.ratio_curves([100.0]).set_index("size")["ratio"]
    for size in published.sizes():
        assert round(100 * at_end[size], 1) == round(100 * published.critical_ratio(size), 1)
    assert published.critical_ratio("460M", "academic") == pytest.approx(0.367)


def test_numbers_of_the_text() -> None:
    assert published.value("lagrange_high") == 7000
    assert published.value("cmr_460M") == 29.8
    with pytest.raises(KeyError, match="no number 'speed'"):
        published.value("speed")
