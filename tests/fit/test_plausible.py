"""`repro fit cmr` on losses that are not what their columns say, or that hold no effect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers import studies
from helpers.fitting import fit, saved, strict

RATIOS = (1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4)
LOSSES = ["general_loss", "domain_loss"]


def study() -> pd.DataFrame:
    return studies.losses(RATIOS, sizes=1)[["ratio", "tokens", *LOSSES]].reset_index(drop=True)


def answer(frame: pd.DataFrame, folder: Path, *flags: str) -> tuple[dict[str, Any], Any]:
    saved(frame, folder)
    done = fit("cmr", "losses.csv", "--bootstrap", "0", "--json", "o.json", *flags, at=folder)
    assert done.returncode == 0, done.stderr
    return strict((folder / "o.json").read_text()), done


def test_sound_losses_raise_no_doubt(tmp_path: Path) -> None:
    found, _ = answer(study(), tmp_path)
    assert not [text for text in found["warnings"] if "line" in text or "share" in text or "noise" in text]


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "perplexity": (lambda f: f.assign(**{loss: np.exp(f[loss]) for loss in LOSSES}), "take its natural logarithm"),
    "general share": (lambda f: f.assign(ratio=1 - f["ratio"]), "hold the share of general text?"),
    "swapped": (lambda f: f.rename(columns=dict(zip(LOSSES, LOSSES[::-1], strict=True))), "losses swapped?"),
}


@pytest.mark.parametrize("kind", list(CHANGES))
def test_columns_that_hold_something_else_are_told(kind: str, tmp_path: Path) -> None:
    change, says = CHANGES[kind]
    found, done = answer(change(study()), tmp_path, "--html", "o.html")
    assert any(says in text for text in found["warnings"])
    assert says in done.stdout
    assert says in (tmp_path / "o.html").read_text()


def test_a_loss_that_cannot_be_is_not_measured(tmp_path: Path) -> None:
    frame = study()
    rows = frame.index[frame["tokens"] > 0][::7]
    frame.loc[rows, "general_loss"] = -1.0
    found, _ = answer(frame, tmp_path)
    text = next(text for text in found["warnings"] if "no cross-entropy can be" in text)
    assert f"lines {rows[0] + 2}, {rows[1] + 2}, " in text
    sound, _ = answer(study(), tmp_path)
    values = [group["groups"][0]["critical_ratio"]["tolerance"]["value"] for group in (found, sound)]
    assert values[0] == pytest.approx(values[1], abs=0.01)


def test_one_outlying_loss_is_named_by_its_line_and_moves_nothing(tmp_path: Path) -> None:
    frame = study()
    row = frame.index[frame["ratio"] == 1 / 3][9]
    frame.loc[row, "general_loss"] = 11.0
    found, sound = answer(frame, tmp_path)[0], answer(study(), tmp_path)[0]
    assert any(f"(line {row + 2}); left out" in text for text in found["warnings"])
    times = [one["groups"][0]["token_laws"][2]["turning_point"]["value"] for one in (found, sound)]
    assert times[0] == pytest.approx(times[1], rel=0.1)


def test_noise_alone_is_null_and_said_everywhere(tmp_path: Path) -> None:
    frame = study()
    noise = 4.2 + 0.002 * np.random.default_rng(0).standard_normal(len(frame))
    found, done = answer(frame.assign(general_loss=noise), tmp_path, "--html", "o.html")
    critical = found["groups"][0]["critical_ratio"]
    assert (critical["turning_point"]["value"], critical["tolerance"]["value"]) == (None, None)
    says = "the general loss does not change by more than its noise"
    assert any(says in text for text in found["warnings"])
    assert says in done.stdout
    assert says in (tmp_path / "o.html").read_text()


def dense(points: int) -> pd.DataFrame:
    """Four ratios by so many tokens, with a little noise."""
    tokens = np.linspace(100 / points, 100, points)
    frames = [pd.DataFrame({"ratio": [0.0], "tokens": 0.0, "general_loss": 4.0, "domain_loss": 5.0})]
    rng = np.random.default_rng(0)
    for ratio in (1 / 4, 1 / 2, 3 / 4, 1.0):
        general = 4 + ratio * (0.1 * (tokens / 100) ** 0.2 - 0.04 * tokens / 100) + 0.003 * rng.standard_normal(points)
        domain = 5 - ratio * (tokens / 100) ** 0.3 + 0.003 * rng.standard_normal(points)
        columns = {"ratio": ratio, "tokens": tokens, "general_loss": general, "domain_loss": domain}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def test_a_loss_that_never_changes_has_no_pattern(tmp_path: Path) -> None:
    found, _ = answer(dense(50).assign(general_loss=4.0), tmp_path)
    assert not any("follow a pattern" in text for text in found["warnings"])


def test_residuals_with_a_pattern_are_told(tmp_path: Path) -> None:
    frame = dense(50)
    says = "residuals of the domain loss follow a pattern"
    assert not any(says in text for text in answer(frame, tmp_path)[0]["warnings"])
    wave = 0.02 * np.sin(6 * np.pi * frame["tokens"] / 100)
    found, _ = answer(frame.assign(domain_loss=frame["domain_loss"] + wave), tmp_path)
    assert any(says in text for text in found["warnings"])


def test_many_rows_are_answered_with_a_word_on_the_way(tmp_path: Path) -> None:
    found, done = answer(dense(1500), tmp_path)
    assert "6,001 rows read" in done.stderr
    assert any("condensed to the means of up to 60 groups" in text for text in found["warnings"])
    assert "How well the domain and token laws fit" in done.stdout
