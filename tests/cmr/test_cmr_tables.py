"""Tables show the numbers they are given, a dash for what is missing, and no markup of others."""

import numpy as np
import pandas as pd
import pytest

from helpers.studies import Given
from helpers.tables import cells, row
from repro.cmr import paper, tables


def test_table_1_has_a_column_for_each_size_and_readable_parameters() -> None:
    table = tables.model_shapes(paper.shapes())
    assert row(table, "model size") == ["model size", "460M", "940M", "1.6B", "3.1B"]
    assert row(table, "parameters") == ["parameters", "462M", "938M", "1.58B", "3.06B"]
    assert row(table, "hidden size")[1:] == ["1,024", "1,536", "2,048", "2,560"]


def test_table_2_shows_losses_predictions_and_errors() -> None:
    table = tables.held_out(paper)
    names = row(table, "loss")
    assert names[2:4] == ["R = 1", "R = 3/4"] and names[6:8] == [
        "R = 1/4, measured",
        "R = 1/4, predicted from the others",
    ]
    assert row(table, "domain")[1:3] == ["460M", "1.4628"]
    found = dict(zip(names, row(table, "domain"), strict=True))
    assert (found["R = 1/4, measured"], found["R = 1/4, predicted in the paper"]) == ("1.5561", "1.5566")
    errors = tables.held_out(paper).data["relative error"]
    assert errors.abs().max() < 0.01, "the law refitted on the other ratios predicts within a hundredth of a percent"
    assert found["difference as printed"] == "0.03%"


def test_table_2_says_when_there_is_no_prediction() -> None:
    points, side = paper.held_out().points, Given()
    without = points[points["kind"] != "held out, predicted"]
    side.held_out = lambda: paper.held_out()._replace(points=without, printed=None)
    table = tables.held_out(side)
    assert row(table, "domain")[-1] == tables.DASH
    assert f'title="{tables.NOT_RUN}"' in table.to_html()


def test_table_3_and_4_have_every_size_and_ratio() -> None:
    quality = cells(tables.fit_quality(paper))
    assert sum("1/3" in found for found in quality) == 2
    text = tables.fit_quality(paper).to_html()
    assert "1.94e-10" in text
    assert "0.8741" in text
    coefficients = tables.coefficients(paper).to_html()
    assert all(digits in coefficients for digits in ("257.77904", "-0.00022", "3.42674"))


def test_table_5_gives_the_critical_ratio_beside_the_printed_one() -> None:
    table = tables.critical_ratios(paper)
    assert row(table, "460M")[1:3] == ["29.8%", "29.8%"]
    assert row(table, "model size")[1:3] == ["by turning point", "as printed"]


def test_a_critical_ratio_that_does_not_exist_is_a_dash_and_never_zero() -> None:
    frame = pd.DataFrame({
        "size": ["0.1M"], "alpha4": [np.nan], "s4": [np.nan], "beta3": [np.nan], "critical_ratio": [np.nan],
        "tolerance_ratio": [0.5], "both": [np.nan], "feasible": [(0.125, 1 / 3)],
    })  # fmt: skip
    table = tables.critical_ratios(Given(critical_ratios=frame))
    assert row(table, "0.1M") == ["0.1M", tables.DASH, "50.0%", tables.DASH, "1/8, 1/3", *[tables.DASH] * 3]
    assert row(table, "model size")[1:4] == ["both", "by tolerance", "by turning point"]


def test_turning_points_are_a_grid_of_sizes_and_ratios() -> None:
    table = tables.turning_points(paper)
    assert row(table, "1/8")[1:] == ["39.6", "28.8", "23.0", "20.0"]
    assert row(table, "1")[1:] == [tables.DASH] * 4


def test_an_interval_stands_under_its_value() -> None:
    rows = pd.DataFrame({
        "domain": ["far", "near"], "size": "a", "critical_ratio": [0.474, np.nan], "turning_lower": [0.362, np.nan],
        "turning_upper": [0.501, np.nan], "both": [0.3, 0.4],
    })  # fmt: skip
    far, near = (Given(critical_ratios=rows[rows["domain"] == name]) for name in ("far", "near"))
    table = tables.two_domains(far, near, pd.DataFrame({"corpus": ["far", "near"], "distance": [0.4, 0.1]}))
    assert row(table, "far") == ["far", "a", "0.400", "47.4%(36.2 to 50.1)", "30.0%"]
    assert row(table, "near") == ["near", "a", "0.100", tables.DASH, "40.0%"]
    assert "47.4% <br><small>(36.2 to 50.1)</small>" in table.to_html()


def test_intervals_of_coefficients_are_under_the_pointer() -> None:
    names = ("alpha1", "s1", "beta1", "alpha2", "s2", "alpha3", "s3", "beta2")
    ends = {f"{name}_lower": -5387.9 for name in names} | {f"{name}_upper": 0.01234 for name in names}
    html = tables.coefficients(Given(coefficients=paper.coefficients().head(2).assign(**ends))).to_html()
    assert html.count('title="95% interval: -5,390 to 0.0123"') == 2 * len(names)
    assert "title=" not in tables.coefficients(paper).to_html()


@pytest.mark.parametrize(
    ("t", "lower", "upper", "says"),
    [
        (109.19, 85.0, 224.14, "109.2(85.0 to 224.1)"),
        (93.2, 65.66, np.inf, "93.2(65.7 to never)"),
        (np.nan, 180.38, np.inf, "never(from 180.4)"),
        (np.nan, np.inf, np.inf, "never"),
        (20.0, np.nan, np.nan, "20.0"),
        (np.nan, np.nan, np.nan, tables.DASH),
    ],
)
def test_a_turning_point_that_may_not_come_says_so(t: float, lower: float, upper: float, says: str) -> None:
    points = pd.DataFrame({"size": ["a"], "ratio": [0.5], "t": [t], "lower": [lower], "upper": [upper]})
    assert row(tables.turning_points(Given(turning_points=points)), "1/2")[1] == says


def test_the_critical_ratio_at_other_tolerances() -> None:
    frame = pd.DataFrame({
        "size": ["a", "a", "b", "b"], "epsilon": [0.02, 0.05] * 2, "tolerance_ratio": [0.25, 0.5, np.nan, 0.125],
        "tolerance_lower": [0.2, 0.4, np.nan, np.nan], "tolerance_upper": [0.3, 0.6, np.nan, np.nan],
        "critical_ratio": [0.4, 0.4, np.nan, np.nan],
    })  # fmt: skip
    head, a, b = cells(tables.tolerances(Given(tolerances=frame)))
    assert head == ["model size", "\u03b5 = 0.02", "\u03b5 = 0.05", "by turning point"]
    assert a == ["a", "25.0%(20.0 to 30.0)", "50.0%(40.0 to 60.0)", "40.0%"]
    assert b == ["b", "\u2014", "12.5%", "\u2014"]


def test_no_number_is_broken_over_two_lines() -> None:
    html = tables.fit_quality(paper).to_html()
    assert html.count('class="data row') == html.count(' number"') > 0


def test_text_is_escaped() -> None:
    frame = pd.DataFrame({
        "corpus": ["<script>x</script>"], "part": "training", "documents": 1200, "tokens": [3.1e6], "epochs": [None],
        "sources": "<b>", "licences": "&",
    })  # fmt: skip
    html = tables.corpora(frame).to_html() + tables.sources(frame).to_html()
    assert "<script>" not in html and "<b>" not in html
    assert row(tables.corpora(frame), "<script>x</script>")[1:] == ["training", "1,200", "3.10M", tables.DASH]
    assert row(tables.sources(frame), "<script>x</script>")[1:] == ["<b>", "&"]


def test_runs_show_fractions_and_large_numbers_as_readers_say_them() -> None:
    frame = pd.DataFrame({
        "stage": ["pretrain", "continue"], "size": ["0.3M", "0.3M"], "ratio": [np.nan, 1 / 3],
        "parameters": [291_000, 291_000], "tokens": [3e6, 1e6], "seconds": [115.04, 2345.2],
    })  # fmt: skip
    assert row(tables.runs(frame), "continue") == ["continue", "0.3M", "1/3", "291k", "1.00M", "2,345.2"]
    assert row(tables.runs(frame), "pretrain")[2] == tables.DASH


def test_the_second_domain_beside_the_first() -> None:
    frame = pd.DataFrame({"domain": ["far", "far"], "size": ["a", "b"], "critical_ratio": [0.298, 0.3]})
    near = frame.assign(domain="near", critical_ratio=0.367)
    distances = pd.DataFrame({"corpus": ["far", "near"], "distance": [0.4, 0.1]})
    table = tables.two_domains(Given(critical_ratios=frame), Given(critical_ratios=near), distances)
    assert cells(table)[1:] == [["far", "a", "0.400", "29.8%"], ["near", "a", "0.100", "36.7%"]]


def test_the_same_frame_gives_the_same_html() -> None:
    assert tables.fit_quality(paper).to_html() == tables.fit_quality(paper).to_html()


def test_learning_rates_have_a_row_each() -> None:
    frame = pd.DataFrame({
        "size": "a", "learning_rate": [1e-3, 3e-3], "critical_ratio": [0.4, np.nan], "turning_lower": [0.3, np.nan],
        "turning_upper": [0.5, np.nan], "tolerance_ratio": [0.2, 0.1], "both": [0.2, np.nan],
    })  # fmt: skip
    head, first, second = cells(tables.learning_rates(frame))
    assert head == ["learning rate", "model size", "by turning point", "by tolerance", "both"]
    assert first == ["0.001", "a", "40.0%(30.0 to 50.0)", "20.0%", "20.0%"]
    assert second == ["0.003", "a", tables.DASH, "10.0%", tables.DASH]
