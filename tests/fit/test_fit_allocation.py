"""`repro fit allocation` as a shell sees it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers import browser
from helpers.fitting import fit, fit_in_a_shell, saved, strict

BUDGET = 30e9
TOKENS = np.array([0.4, 0.6, 0.9, 1.2, 1.6, 2.0, 2.4, 3.0, 4.0, 6.0]) * 1e6


def scores(**columns: Any) -> pd.DataFrame:
    """Scores with a clear peak at 2 million SFT tokens."""
    noise = np.random.default_rng(1).normal(0, 0.003, len(TOKENS))
    values = 0.30 + 0.20 * np.exp(-((np.log(TOKENS / 2e6) / 0.5) ** 2) / 2) - 3000 / (TOKENS - 2e5) + noise
    return pd.DataFrame({"sft_tokens": TOKENS, "score": values.round(4)} | columns)


def test_the_answer_has_the_promised_shape(tmp_path: Path) -> None:
    saved(scores(n_items=20_000, note="mine"), tmp_path, "s.csv")
    flags = ["--budget", "30e9", "--bootstrap", "60", "--predict", "25e9", "--predict", "1e6"]
    done = fit_in_a_shell("allocation", "s.csv", *flags, "--json", "o.json", "--html", "o.html", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = strict((tmp_path / "o.json").read_text())
    assert list(found["params"]) == ["p_base", "amplitude", "mu", "sigma", "s_min", "penalty"]
    assert set(found["ci"]) == set(found["params"])
    best = found["optimum"]
    assert best["sft_tokens"] == pytest.approx(2e6, rel=0.1)
    assert best["ci"][0] < best["sft_tokens"] < best["ci"][1]
    assert best["cpt_fraction"] == pytest.approx(1 - best["sft_tokens"] / BUDGET)
    assert set(found["flatness"]) >= {"statistic", "df", "p_value"}
    assert found["flatness"]["p_value"] < 1e-3
    assert set(found["trend"]) == {"slope", "p_value", "method"} and 0 <= found["trend"]["p_value"] <= 1
    assert isinstance(found["peak_shown"], bool) and set(found["peak"]) == {"p_value", "against"}
    assert found["peak_shown"] != any(text.startswith("no peak is shown: ") for text in found["warnings"])
    first, impossible = found["predictions"]
    assert first["cpt_fraction"] == pytest.approx(1 - best["sft_tokens"] / 25e9)
    assert first["ci"][0] < first["cpt_fraction"] < first["ci"][1]
    assert (impossible["cpt_fraction"], impossible["ci"]) == (None, None)
    assert any(text.startswith("no best split of 1e+06 tokens") for text in found["warnings"])
    assert "95% intervals from 60 draws are rough; 1,000 is the default" in found["warnings"]
    said = ("Best split", "The allocation law", "Whether there is a peak", "Warnings")
    places = [done.stdout.index(text) for text in said]
    assert places == sorted(places)


def test_fractions_that_leave_the_same_tokens_repeat_an_allocation(tmp_path: Path) -> None:
    saved(pd.DataFrame({"cpt_fraction": [0, 1e-20, *np.linspace(0.1, 0.9, 8)], "score": 0.5}), tmp_path, "s.csv")
    done = fit_in_a_shell("allocation", "s.csv", "--budget", "1", at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("s.csv: line 3: the same cpt_fraction as line 2")


@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here")
def test_the_report_needs_nothing_from_outside(tmp_path: Path) -> None:
    saved(scores(), tmp_path, "s.csv")
    fit("allocation", "s.csv", "--budget", "30e9", "--bootstrap", "20", "--html", "o.html", at=tmp_path)
    with browser.browser() as running, browser.visit(running, tmp_path / "o.html", width=390, theme="dark") as seen:
        assert (seen.outside, seen.errors, seen.warnings) == ([], [], [])
        assert browser.overflow(seen.page) <= 0
        assert seen.page.evaluate("[...document.images].map(i => i.naturalWidth > 100)") == [True]
        assert "3e+10 tokens" in seen.page.inner_text("main")


@pytest.mark.usefixtures("without_held_out")
def test_shares_and_tokens_give_the_same_optimum(tmp_path: Path) -> None:
    frame = scores()
    shares = frame.assign(cpt_fraction=1 - frame["sft_tokens"] / BUDGET)
    saved(frame, tmp_path, "tokens.csv")
    saved(shares.drop(columns="sft_tokens"), tmp_path, "shares.csv", float_format="%.12g")
    saved(shares, tmp_path, "both.csv")
    found = {}
    for name in ("tokens", "shares", "both"):
        flags = ["--budget", "30e9", "--bootstrap", "0", "--json", "o.json"]
        assert fit("allocation", f"{name}.csv", *flags, at=tmp_path).returncode == 0
        found[name] = strict((tmp_path / "o.json").read_text())
        assert found[name]["ci"] is found[name]["optimum"]["ci"] is None
    best = [one["optimum"]["sft_tokens"] for one in found.values()]
    assert best == pytest.approx([best[0]] * 3, rel=1e-4)
    assert "cpt_fraction was not read: the file has sft_tokens as well" in found["both"]["warnings"]


@pytest.mark.usefixtures("without_held_out")
def test_sft_tokens_in_another_unit_than_the_budget_are_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({"sft_tokens": np.geomspace(1e5, 1e7, 9), "score": np.linspace(0.3, 0.4, 9)})
    saved(frame.assign(sft_tokens=frame["sft_tokens"] / 1e6), tmp_path, "millions.csv")
    saved(frame, tmp_path, "tokens.csv")
    told = [
        fit("allocation", f"{name}.csv", "--budget", "30e9", "--bootstrap", "0", at=tmp_path).stdout
        for name in ("millions", "tokens")
    ]
    assert ["are both in tokens, or one in millions?" in text for text in told] == [True, False]


@pytest.mark.usefixtures("without_held_out")
def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [
        scores(seed=f"run {k}").assign(score=lambda part: part["score"] + rng.normal(0, 0.01, 10)) for k in range(3)
    ]
    frame = pd.concat(runs)
    saved(frame, tmp_path, "one.csv")
    saved(frame.sample(frac=1, random_state=0), tmp_path, "other.csv")
    for name in ("one", "other"):
        flags = ["--budget", "30e9", "--bootstrap", "20", "--json", f"{name}.json"]
        assert fit("allocation", f"{name}.csv", *flags, at=tmp_path).returncode == 0
    assert (tmp_path / "one.json").read_text() == (tmp_path / "other.json").read_text()


def test_rising_scores_show_no_peak_and_the_optimum_says_so(tmp_path: Path) -> None:
    saved(scores(score=0.3 + 0.05 * np.log(TOKENS / TOKENS[0]), n_items=4000).round(4), tmp_path, "s.csv")
    done = fit("allocation", "s.csv", "--budget", "30e9", "--bootstrap", "30", "--json", "o.json", at=tmp_path)
    found = strict((tmp_path / "o.json").read_text())
    assert found["peak_shown"] is False and found["optimum"]["sft_tokens"] is not None
    assert any(text.startswith("no peak is shown: ") for text in found["warnings"])
    assert "by the allocation law (no peak is shown)" in done.stdout


def test_equal_scores_have_no_optimum_and_one_reason(tmp_path: Path) -> None:
    saved(scores(score=0.7), tmp_path, "s.csv")
    flags = ["--budget", "30e9", "--bootstrap", "200", "--json", "o.json", "--html", "o.html"]
    assert fit("allocation", "s.csv", *flags, at=tmp_path).returncode == 0
    found = strict((tmp_path / "o.json").read_text())
    assert (found["optimum"]["sft_tokens"], found["ci"], found["r2"]) == (None, None, None)
    assert (found["params"]["p_base"], found["params"]["amplitude"]) == (0.7, 0.0)
    assert [text.split(":")[0] for text in found["warnings"]] == ["all scores are equal"]


FAULTS: dict[str, tuple[pd.DataFrame, str]] = {
    "no split": (scores().drop(columns="sft_tokens"), "line 1: no column 'sft_tokens' or 'cpt_fraction'; one of them"),
    "no score": (scores().drop(columns="score"), "line 1: no column 'score'; the columns are sft_tokens"),
    "over budget": (
        scores().replace({"sft_tokens": {6e6: 6e10}}),
        "line 11: sft_tokens is 6e+10; it must be at most the budget, 3e+10",
    ),
    "percent of items": (
        scores(n_items=[164] * 10).replace({"score": {scores()["score"][2]: 41.5}}),
        "line 4: score is '41.5'; it must be a number from 0 to 1 (if this is a percentage, write 0.415)",
    ),
    "half an item": (scores(n_items=[164] * 9 + [1.5]), "line 11: n_items is '1.5'; it must be a whole number from"),
    "too many items": (
        scores(n_items=[9] * 9 + [1e19]),
        "line 11: n_items is '1e+19'; it must be a whole number from 1",
    ),
    "repeated": (
        scores().replace({"sft_tokens": {6e6: 4e6}}),
        "line 11: the same sft_tokens as line 10 (runs that differ in their seed need a column seed)",
    ),
    "few": (scores().head(5), "5 different allocations with SFT tokens; the allocation law has 6 parameters"),
    "fraction over 1": (
        scores()
        .rename(columns={"sft_tokens": "cpt_fraction"})
        .assign(cpt_fraction=[0.1 * n for n in range(1, 10)] + [99]),
        "line 11: cpt_fraction is '99.0'; it must be a number from 0 to 1 (if this is a percentage, write 0.99)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_is_told_in_one_line(tmp_path: Path, fault: str) -> None:
    frame, says = FAULTS[fault]
    saved(frame, tmp_path, "s.csv")
    done = fit("allocation", "s.csv", "--budget", "30e9", "--json", "o.json", at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"s.csv: {says}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o.json").exists()
