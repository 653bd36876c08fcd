"""The paper's printed numbers: digit for digit, and what follows from them."""

import numpy as np
import pytest

from repro.cmr import paper, published
from repro.lm.models import Shape


def test_parameter_counts_of_table_1() -> None:
    table = paper.shapes().set_index("size")
    assert list(table.index) == ["460M", "940M", "1.6B", "3.1B"]
    counts = dict(table["parameters"])
    assert counts == {"460M": 461_620_224, "940M": 937_797_120, "1.6B": 1_577_551_872, "3.1B": 3_062_499_840}


def test_parameter_count_by_hand_on_a_tiny_model() -> None:
    embeddings, layer = 2 * 10 * 4, 4 * 4 * 4 + 3 * 4 * 6 + 2 * 4
    assert Shape(hidden=4, intermediate=6, layers=3, heads=2).parameters(10) == embeddings + 3 * layer + 4


def test_a_dimension_must_be_positive() -> None:
    with pytest.raises(ValueError, match="layers must be positive, got 0"):
        Shape(hidden=4, intermediate=6, layers=0, heads=2).parameters(10)


def test_flops_are_six_per_parameter_and_attention() -> None:
    shape = Shape(hidden=8, intermediate=6, layers=2, heads=2)
    assert shape.flops_per_token(10, sequence=16) == 6 * shape.parameters(10) + 12 * 2 * 8 * 16


@pytest.mark.parametrize(("table", "rows"), [("1", 4), ("2", 24), ("3", 96), ("4", 24), ("5", 4)])
def test_tables_are_complete(table: str, rows: int) -> None:
    frame = published.table(table)
    assert len(frame) == rows
    needed = frame.drop(columns="printed_difference", errors="ignore")
    assert needed.notna().all(axis=None)


@pytest.mark.parametrize("table", ["2", "3", "4"])
def test_a_third_is_exactly_a_third(table: str) -> None:
    assert 1 / 3 in set(published.table(table)["ratio"])


def test_a_caller_cannot_spoil_the_cached_tables() -> None:
    table = published.table("5")
    table.loc[:, "alpha4"] = 0.0
    assert published.table("5")["alpha4"].iloc[0] == 0.22524761


def test_printed_difference_of_table_2_is_that_of_its_rows() -> None:
    held = paper.held_out()
    seen = held.points.query("kind == 'held out, measured'").set_index("size")["value"]
    assert held.printed is not None
    rows = held.printed.set_index("size")
    error = (rows["loss"] / seen - 1).abs() * 100
    assert np.allclose(error, rows["printed_difference"], atol=0.0101)


def test_table_4_uses_the_names_of_equation_6() -> None:
    domain, general = paper.equation_6("460M", 1 / 8)
    assert domain == {"alpha1": 0.71989, "s1": -0.08343, "beta1": -0.81231}
    assert general == {"alpha2": 0.13055, "s2": 0.48615, "alpha3": -0.12803, "s3": 0.48955, "beta2": -0.00055}
    with pytest.raises(KeyError, match=r"460M.*0\.9"):
        paper.equation_6("460M", 0.9)


def test_domain_losses_of_tables_2_and_4_agree_on_differences_between_ratios() -> None:
    end = paper.curves([100.0]).set_index(["size", "ratio"])["domain"]
    table = published.table("2").query("kind == 'measured'").set_index(["size", "ratio"])["loss"]
    for size in paper.sizes:
        base = [table[size, ratio] - end[size, ratio] for ratio in table[size].index]
        # Five printed decimals of an exponent next to a coefficient of 260 leave the increment open to 0.006.
        assert np.ptp(base) < 0.012, "the loss before training must not depend on the ratio"


def test_curves_cover_every_size_and_ratio_in_order() -> None:
    curves = paper.curves([1.0, 100.0, 250.0])
    assert tuple(dict.fromkeys(curves["size"])) == paper.sizes
    assert set(curves["kind"]) == {"fitted", "extrapolated"}
    assert curves.groupby(["size", "ratio"]).size().eq(3).all()
    assert (curves.query("t == 250")["kind"] == "extrapolated").all()
    assert (paper.curves([0.0])[["general", "domain"]] == 0).all(axis=None), "by definition, though T^s has no value"


def test_turning_points_move_later_as_the_ratio_grows_and_match_table_5() -> None:
    points = paper.turning_points()
    assert tuple(points["size"].unique()) == paper.sizes
    low = points[points["ratio"] <= 0.5]
    assert low.groupby("size")["t"].apply(lambda t: t.is_monotonic_increasing).all()
    small = low[low["size"] == "460M"]["t"]
    assert np.allclose(small, [39.8, 79.9, 117.1, 233.5], rtol=0.01)
    assert points.query("ratio == 1")["t"].isna().all()
    assert (points["t"].isna() == (points["status"] == "none")).all()


def test_equation_8_gives_the_printed_critical_ratios() -> None:
    at_end = paper.ratio_curves([100.0]).set_index("size")["ratio"]
    for size in paper.sizes:
        assert round(100 * at_end[size], 1) == round(100 * published.critical_ratio(size), 1)
    assert published.critical_ratio("460M", "academic") == pytest.approx(0.367)


def test_numbers_of_the_text() -> None:
    assert published.value("lagrange_high") == 7000
    assert published.value("cmr_460M") == 29.8
    with pytest.raises(KeyError, match="no number 'speed'"):
        published.value("speed")
