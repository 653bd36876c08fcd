"""`repro fit cmr` as a shell sees it: the answer, wrong flags, and the report in a browser."""

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import browser, studies
from helpers.command import HEAVY, imported
from helpers.fitting import fit, fit_in_a_shell, saved, strict
from repro.trust.recovery import simulate_losses

RATIOS = (1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4)
DRAWS = "40"
FIT = {"params", "ci", "sse", "rse", "r2", "n", "warnings"}


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A fit of two sizes with a report, done once."""
    folder = tmp_path_factory.mktemp("fit")
    saved(studies.losses(RATIOS).drop(columns=["domain", "seed"]), folder)
    done = fit_in_a_shell("cmr", "losses.csv", "--bootstrap", DRAWS, "--json", "o.json", "--html", "o.html", at=folder)
    return folder, done


def test_the_answer_has_the_promised_shape(answered: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = answered
    assert (done.returncode, done.stderr) == (0, "")
    found = strict((folder / "o.json").read_text())
    assert f"95% intervals from {DRAWS} draws are rough; 1,000 is the default" in found["warnings"]
    assert [group["size"] for group in found["groups"]] == ["0.1M", "0.2M"]
    for group in found["groups"]:
        assert group["base"] == {"general": pytest.approx(4.2), "domain": pytest.approx(5.1)}
        assert [laws["ratio"] for laws in group["token_laws"]] == pytest.approx(RATIOS)
        turning, tolerance = group["critical_ratio"]["turning_point"], group["critical_ratio"]["tolerance"]
        fits = [*group["ratio_law"].values(), turning["law"]]
        fits += [laws[loss] for laws in group["token_laws"] for loss in ("domain", "general")]
        assert set(group["ratio_law"]) == {"general", "domain"}
        for one in fits:
            assert set(one) >= FIT
            assert set(one["ci"]) == set(one["params"])
            assert all(len(ends) == 2 for ends in one["ci"].values())
        for laws in group["token_laws"]:
            assert set(laws["turning_point"]) == {"value", "ci", "status"}
            assert laws["turning_point"]["status"] in {"inside", "extrapolated", "none"}
        assert tolerance["epsilon"] == 0.05
        for one in (turning, tolerance):
            low, high = one["ci"]
            assert low <= one["value"] <= high
            assert 0.3 < one["value"] < 0.6


def test_turning_points_and_laws_count_tokens_as_the_file_does(
    answered: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = answered
    laws = strict((folder / "o.json").read_text())["groups"][0]["token_laws"][1]
    general = laws["general"]["params"]
    at = np.linspace(0.97, 1.03, 61) * laws["turning_point"]["value"]
    curve = general["alpha2"] * at ** general["s2"] + general["alpha3"] * at ** general["s3"]
    assert 0 < np.argmax(curve) < 60


def test_the_terminal_gets_turning_points_then_critical_ratios_then_warnings(
    answered: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    shown = answered[1].stdout
    places = [shown.index(text) for text in ("Turning points", "(0.2M)", "Critical mixture ratio", "Warnings")]
    assert places == sorted(places)
    assert re.search(r"^ +1/4 +[\d,]+ +[\d,]+ to [\d,]+ +inside$", shown, re.MULTILINE)


@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_needs_nothing_from_outside(
    answered: tuple[Path, subprocess.CompletedProcess[str]], theme: Any
) -> None:
    file = answered[0] / "o.html"
    assert not re.search(r"(src|href)=\"(?!data:)", file.read_text())
    with browser.browser() as running, browser.visit(running, file, width=390, theme=theme) as seen:
        assert (seen.outside, seen.errors, seen.warnings) == ([], [], [])
        assert browser.overflow(seen.page) <= 0
        drawn = seen.page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 100)")
        ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        text = seen.page.inner_text("main")
    assert drawn == [True] * 10  # five for each size
    assert (ground == "rgb(255, 255, 255)") == (theme == "light")
    for words in ("Read this first", "0.05", "7000", "40 draws", "T_max", "by turning point"):
        assert words in text


def test_what_a_file_calls_itself_is_text_and_not_html(tmp_path: Path) -> None:
    frame = studies.losses(RATIOS, sizes=1).drop(columns=["domain", "seed"]).assign(size="<b>&")
    saved(frame, tmp_path)
    done = fit("cmr", "losses.csv", "--bootstrap", "0", "--html", "o.html", at=tmp_path)
    assert done.returncode == 0
    page = (tmp_path / "o.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_general_loss_that_never_turns_gives_null_and_says_why(tmp_path: Path) -> None:
    frame = studies.losses((1 / 4, 1 / 3, 1 / 2), sizes=1).drop(columns=["size", "domain", "seed"])
    share = frame["tokens"] / frame["tokens"].max()
    saved(frame.assign(general_loss=4.2 + 0.3 * frame["ratio"] * share**0.5), tmp_path)
    done = fit("cmr", "losses.csv", "--bootstrap", DRAWS, "--json", "o.json", at=tmp_path)
    assert done.returncode == 0
    found = strict((tmp_path / "o.json").read_text())
    group = found["groups"][0]
    for laws in group["token_laws"]:
        assert laws["turning_point"] == {"value": None, "ci": None, "status": "none"}
    assert group["critical_ratio"]["turning_point"] == {
        "value": None, "ci": None, "bound": None, "law": None
    }  # fmt: skip
    for ratio in ("1/4", "1/3", "1/2"):
        assert any(text.startswith(f"R = {ratio}: the general loss does not turn") for text in found["warnings"])
    assert any("no critical ratio by turning point" in text for text in found["warnings"])


def test_without_a_bootstrap_there_are_no_intervals_and_a_warning(tmp_path: Path) -> None:
    saved(studies.losses(RATIOS, sizes=1), tmp_path)
    assert fit("cmr", "losses.csv", "--bootstrap", "0", "--json", "o.json", at=tmp_path).returncode == 0
    found = strict((tmp_path / "o.json").read_text())
    critical = found["groups"][0]["critical_ratio"]
    assert critical["turning_point"]["ci"] is critical["tolerance"]["ci"] is None
    assert critical["turning_point"]["law"]["ci"] is None
    assert any(text.startswith("--bootstrap is 0: there are no intervals") for text in found["warnings"])


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    saved(studies.losses(RATIOS, sizes=1), tmp_path)
    for name, run in (("a.json", fit), ("b.json", fit_in_a_shell)):
        run("cmr", "losses.csv", "--bootstrap", "10", "--seed", "3", "--json", name, at=tmp_path)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_the_order_of_rows_says_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    losses = simulate_losses(rng, seeds=3)[1].drop(columns="general_sequences")
    for name, frame in (("a", losses), ("b", losses.sample(frac=1, random_state=1))):
        saved(frame, tmp_path, f"{name}.csv")
        fit("cmr", f"{name}.csv", "--bootstrap", "40", "--json", f"{name}.json", at=tmp_path)
    one, other = (strict((tmp_path / f"{name}.json").read_text())["groups"][0] for name in "ab")
    for route in ("turning_point", "tolerance"):
        assert other["critical_ratio"][route]["ci"] == pytest.approx(one["critical_ratio"][route]["ci"], rel=1e-4)


def test_ratios_that_differ_by_rounding_are_one(tmp_path: Path) -> None:
    """As 0.3 and 1 - 0.7 do."""
    frame = studies.losses(RATIOS, sizes=1)
    rounded = frame.assign(ratio=np.where(frame.index % 2, np.nextafter(frame["ratio"], 0), frame["ratio"]))
    assert rounded["ratio"].nunique() > frame["ratio"].nunique()
    for name, each in (("a", frame), ("b", rounded)):
        saved(each, tmp_path, f"{name}.csv")
        assert fit("cmr", f"{name}.csv", "--bootstrap", "0", "--json", f"{name}.json", at=tmp_path).returncode == 0
    one, other = (strict((tmp_path / f"{name}.json").read_text())["groups"][0] for name in "ab")
    assert [len(each["token_laws"]) for each in (one, other)] == [len(RATIOS)] * 2
    routes = [each["critical_ratio"]["tolerance"]["value"] for each in (one, other)]
    assert routes[0] == pytest.approx(routes[1], rel=1e-9)
    twice = rounded.iloc[[*range(len(rounded)), len(rounded) - 1]]
    twice = twice.assign(ratio=[*rounded["ratio"], np.nextafter(rounded["ratio"].iloc[-1], 0)])
    saved(twice, tmp_path, "c.csv")
    assert "the same size, domain, ratio, tokens and seed as line 66" in fit("cmr", "c.csv", at=tmp_path).stderr


def test_the_base_may_come_from_the_command_line(tmp_path: Path) -> None:
    frame = studies.losses(RATIOS, sizes=1)
    saved(frame, tmp_path, "with.csv")
    saved(frame[frame["tokens"] > 0], tmp_path, "without.csv")
    given = ["--base-general", "4.2", "--base-domain", "5.1"]
    fit("cmr", "with.csv", "--bootstrap", "0", "--json", "with.json", at=tmp_path)
    done = fit("cmr", "without.csv", *given, "--bootstrap", "0", "--json", "without.json", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    one, other = (strict((tmp_path / name).read_text()) for name in ("with.json", "without.json"))
    ratios = [found["groups"][0]["critical_ratio"]["turning_point"]["value"] for found in (one, other)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-6)
    needless = fit("cmr", "with.csv", *given, "--bootstrap", "0", at=tmp_path)
    assert "--base-general and --base-domain were not needed" in needless.stdout


WRONG = [
    (["cmr", "a.csv", "--t-max", "0"], "--t-max: '0': must be a number above 0"),
    (["cmr", "a.csv", "--epsilon", "-0.1"], "--epsilon: '-0.1': must be a number, 0 or more"),
    (["cmr", "a.csv", "--lagrange", "inf"], "--lagrange: 'inf': must be a number above 0"),
    (["cmr", "a.csv", "--bootstrap", "2.5"], "--bootstrap: '2.5': must be a whole number, 0 or more"),
    (["cmr", "a.csv", "--bootstrap", "100001"], "--bootstrap: '100001': must be at most 100,000"),
    (["allocation", "a.csv", "--budget", "9", "--bootstrap", "1" + 9 * "0"], "must be at most 100,000"),
    (["cmr", "a.csv", "--seed", "9" * 5000], "...': must be at most 9,223,372,036,854,775,807"),
    (["cmr", "a.csv", "--t-max", "1e300"], "--t-max: '1e300': must be at most 1e+15"),
    (["cmr", "a.csv", "--json", "o", "--html", "./o"], "the table, --json and --html: must be different files"),
    (["cmr", "a.csv", "--base-general", "3"], "--base-general and --base-domain must be given together"),
    (["cmr", "a.csv", "--json", "a.csv"], "the table, --json and --html: must be different files"),
    (["cmr", "a.csv", "--json", "/no/such/folder/o.json"], "must be a file in an existing folder"),
    (["cmr", "a.csv"], "a.csv: no such file or directory"),
    (["allocation", "a.csv"], "the following arguments are required: --budget"),
    (["allocation", "a.csv", "--budget", "0"], "--budget: '0': must be a number above 0"),
    (["allocation", "a.csv", "--budget", "9", "--predict", "x"], "--predict: 'x': must be a number above 0"),
    ([], "the following arguments are required: PAPER"),
]


@pytest.mark.parametrize(("flags", "says"), WRONG)
def test_wrong_flags_are_told_in_one_line(tmp_path: Path, flags: list[str], says: str) -> None:
    done = fit(*flags, at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_flags_are_told_in_a_shell(tmp_path: Path) -> None:
    flags, says = WRONG[0]
    done = fit_in_a_shell(*flags, at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_wrong_flags_are_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    commands = [["fit", *flags] for flags, _ in WRONG if flags != ["cmr", "a.csv"]]  # which is to be read
    assert not (HEAVY | {"numpy", "pandas", "scipy", "altair"}) & imported(commands, tmp_path)
