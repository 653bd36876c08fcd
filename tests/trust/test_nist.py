"""NIST's certified nonlinear regressions: the engine alone, from its fixed grid, without starting values."""

from __future__ import annotations

import pytest

from benchmarks import nist
from benchmarks.nist import REGRESSIONS, Regression
from repro.trust.recovered import recorded

DIGITS = 6.0


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda item: item.name)
def test_certified_digits(regression: Regression) -> None:
    found = nist.agreement(regression)
    if regression.name == "Lanczos1":
        certified = nist.read("Lanczos1")
        assert regression.law.fit(certified.x, certified.y).rse < nist.EXACT
        assert "rse" not in found
    else:
        assert "rse" in found
    assert min(found.values()) >= DIGITS, {name: round(value, 1) for name, value in found.items()}


def test_digits_that_agree_are_counted() -> None:
    assert nist.agreeing(1.0, 1.0) == nist.CERTIFIED
    assert nist.agreeing(1.001, 1.0) == pytest.approx(3)


def test_the_table_has_every_regression_with_its_level() -> None:
    table = nist.digits()
    assert set(table["problem"]) == {regression.name for regression in REGRESSIONS}
    assert list(dict.fromkeys(table["level"])) == ["lower", "average", "higher"]
    assert table["digits"].min() >= DIGITS
    assert list(table.loc[table["rse_digits"].isna(), "problem"]) == ["Lanczos1"]
    shown = recorded("nist").set_index("problem")
    assert (table.set_index("problem")["digits"] - shown["digits"]).abs().max() < 2, (
        "what the page shows is out of date"
    )
    assert shown.index.tolist() == table["problem"].tolist()
    misra = table.set_index("problem").loc["Misra1a"]
    assert (misra["points"], misra["nonlinear"], misra["linear"]) == (14, 1, 1)
