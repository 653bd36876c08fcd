"""The recommended mix: what a table of it says, and which shares a pilot tries."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import ROOT, studies
from repro import cli, params as parameters
from repro.cmr import recommend
from repro.cmr.frames import DomainResults
from repro.cmr.study import Study
from repro.laws import analyse
from repro.params import ParamsError


def test_the_smaller_condition_decides_and_losses_are_those_of_the_law() -> None:
    results = studies.results("full", bootstrap=40)
    for group, row in zip(results.analysis.groups, recommend.recommended(results).to_dict("records"), strict=True):
        found = group.critical_ratio
        assert row["share"] == found.both.value == min(found.tolerance.value or 1, found.turning_point.value or 1)
        name = "tolerance" if found.tolerance.value == row["share"] else "turning_point"
        assert row["decided_by"] == name.replace("_", " ")
        for loss in ("general", "domain"):
            law, base = group.ratio_law[loss], getattr(group.base, loss)
            assert law is not None
            assert row[f"{loss}_loss"] == pytest.approx(float(law.predict(row["share"])))
            assert row[f"{loss}_change"] == pytest.approx(row[f"{loss}_loss"] - base)
    html = recommend.table(results).to_html()
    assert "recommended share" in html and f"{row['share']:.1%}" in html


@pytest.mark.parametrize(
    ("ratios", "epsilon", "decided_by", "share"),
    [
        ((1 / 16, 1 / 10, 1 / 8), 9.0, "no share tried is too large", 1 / 8),
        ((1 / 2, 3 / 4, 7 / 8), 1e-6, "every share tried is too large", np.nan),
        ((1 / 4,), 0.05, "not decided", np.nan),
    ],
)
def test_where_no_ratio_decides_it_says_so(
    ratios: tuple[float, ...], epsilon: float, decided_by: str, share: float
) -> None:
    analysis = analyse(studies.losses(ratios, sizes=1), epsilon=epsilon, bootstrap=20)
    row = recommend.recommended(DomainResults(analysis)).iloc[0]
    assert (row["decided_by"], row["share"]) == (decided_by, pytest.approx(share, nan_ok=True))


TRUTH = 0.433  # where the general loss of these studies ends 0.05 nats up


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters whose runs need no training: losses of known truth take their place."""

    def losses(study: Study) -> Any:
        return studies.losses(sorted({float(run.ratio) for run in study.design.continual}), sizes=1, domain="health")

    monkeypatch.setattr(Study, "losses", losses)
    given = parameters.read(parameters.preset_file("smoke")) | {"lagrange": 7000}
    return given | {"ratios": ["1/4", "1/2", "3/4"]}


def test_a_pilot_stops_when_the_interval_is_narrow_enough(smoke: dict[str, Any]) -> None:
    found = recommend.pilot(parameters.check(smoke), width=0.2, runs=20)
    row = found.as_json()
    assert found.stopped == recommend.NARROW
    assert row["both_upper"] - row["both_lower"] <= 0.2
    assert row["both_lower"] - 0.01 <= TRUTH <= row["both_upper"] + 0.01
    assert f"recommended share:          {row['share']:.1%} (" in str(found)


def tried(found: recommend.Pilot) -> list[float]:
    ratios: list[float] = found.as_json()["pilot"]["ratios"]
    return ratios


def test_a_pilot_tries_next_where_the_critical_ratio_may_lie_and_stops_when_its_runs_are_spent(
    smoke: dict[str, Any],
) -> None:
    found = recommend.pilot(parameters.check(smoke), width=1e-6, runs=5)
    assert (found.stopped, found.as_json()["pilot"]["runs"], len(tried(found))) == (recommend.SPENT, 5, 5)
    first = recommend.pilot(parameters.check(smoke), width=1, runs=3)
    assert tried(first) == [1 / 4, 1 / 2, 3 / 4]
    assert all(1 / 4 < ratio < 1 / 2 for ratio in {*tried(found)} - {*tried(first)})
    with pytest.raises(ParamsError, match="--runs: must be at least 6: 3 shares for each of the seeds"):
        recommend.pilot(parameters.check(smoke | {"seeds": [0, 1]}), width=0.1, runs=5)


def test_ratios_of_the_parameters_are_tried_before_others(smoke: dict[str, Any]) -> None:
    listed = parameters.check(smoke | {"ratios": ["1/8", "1/4", "2/5", "3/7", "1/2", "3/4", 1]})
    own = {float(ratio) for ratio in listed.ratios}
    first = recommend.pilot(listed, width=1e-6, runs=4)
    assert {*tried(first)} <= own
    found = recommend.pilot(listed, width=1e-6, runs=6)
    assert found.stopped == recommend.SPENT, "where one's own are all tried, others are"
    assert {*tried(found)} - own


def test_the_answer_is_printed_and_written(
    smoke: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("params", "_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    (mine := tmp_path / "mine.yaml").write_text("extends: smoke\nepsilon: 0.05\n")
    asked = ["recommend", "--params", str(mine), "--width", "30", "--runs", "4", "--json", str(tmp_path / "out.json")]
    assert cli.main(asked) == 0
    told, written = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert f"decided by:                 {written['decided_by']}\n" in told
    assert f"recommended share:          {written['share']:.1%} (" in told
    assert f"general loss there:         {written['general_loss']:.3f} ({written['general_change']:+.3f})\n" in told
    assert written["pilot"]["runs"] == len(written["pilot"]["ratios"]) <= 4
    assert {row["epsilon"] for row in written["tolerances"]} == {0.02, 0.05, 0.1}
    of_b = tmp_path / "b.yaml"
    of_b.write_text("extends: smoke\npaper: allocation\n")
    assert cli.main(["recommend", "--params", str(of_b)]) == 2
    assert capsys.readouterr().err == (
        "repro: these are parameters of paper B, and shares are recommended by those of paper A alone\n"
    )
