"""The file that the book offers as an example is read, and gives a critical ratio by both conditions."""

from helpers import ROOT
from repro.fit.cmr import fit


def test_the_example_of_the_book_has_a_critical_ratio() -> None:
    answer = fit(ROOT / "book/_static/example-losses.csv", None, None, bootstrap=0)
    (group,) = answer.analysis.groups
    assert group.critical_ratio.turning_point.value and group.critical_ratio.tolerance.value
