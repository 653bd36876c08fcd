"""`repro fit` on the logs of training tools: Transformers' states, TensorBoard's event files and W&B's exports."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers import studies
from helpers.fitting import fit, strict
from repro.fit.logs import Logs
from repro.fit.losses import read_losses

STEP = 1e4  # tokens
NAMES = {1 / 8: "R-0.125", 1 / 4: "ratio=1_4", 1 / 2: "50pct-seed0"}
Metrics = dict[str, Any]


def histories() -> dict[str, list[Metrics]]:
    """By run, what a Trainer logs with two evaluation sets: each loss on its own, and the training loss beside them."""
    runs = {}
    for ratio, rows in studies.losses(tuple(NAMES), sizes=1, points=7).groupby("ratio"):
        log = []
        for row in rows.sort_values("tokens").itertuples():
            at = {"step": round(row.tokens / STEP), "num_input_tokens_seen": int(row.tokens), "epoch": 0.5}
            log.append({"eval_general_loss": row.general_loss, "eval_general_runtime": 1.0} | at)
            log.append({"eval_domain_loss": row.domain_loss} | at)
            log.append({"loss": 3.0, "grad_norm": 0.1} | at)
        runs[NAMES[float(ratio)]] = log
    return runs


def as_wandb(metrics: Metrics) -> Metrics:
    """The names under which Transformers reports to W&B and TensorBoard."""
    names = {"step": "train/global_step", "epoch": "train/epoch", "loss": "train/loss", "grad_norm": "train/grad_norm"}
    names["num_input_tokens_seen"] = "train/num_input_tokens_seen"
    return {names.get(name, name.replace("eval_", "eval/")): value for name, value in metrics.items()}


def states(folder: Path) -> None:
    for run, log in histories().items():
        (folder / run).mkdir(parents=True)
        state = {"best_metric": None, "global_step": log[-1]["step"], "log_history": log}
        (folder / run / "trainer_state.json").write_text(json.dumps(state, indent=2))


def checkpoints(folder: Path) -> None:
    for run, log in histories().items():
        for number, end in ((9, len(log) // 2), (10, len(log))):
            (folder / run / f"checkpoint-{number}").mkdir(parents=True)
            text = json.dumps({"log_history": log[:end]})
            (folder / run / f"checkpoint-{number}" / "trainer_state.json").write_text(text)


def history_of_all(folder: Path) -> None:
    runs = {run: [as_wandb(each) | {"_step": n} for n, each in enumerate(log)] for run, log in histories().items()}
    (folder / "runs.json").write_text(json.dumps(runs))


def frames(folder: Path) -> None:
    for run, log in histories().items():
        pd.DataFrame(map(as_wandb, log)).to_json(folder / f"{run}.json")


def json_lines(folder: Path) -> None:
    for run, log in histories().items():
        (folder / f"{run}.jsonl").write_text("".join(json.dumps(as_wandb(each)) + "\n" for each in log))


def chart(folder: Path) -> None:
    """As the menu of a chart with both losses saves it."""
    cells: dict[int, Metrics] = {}
    for run, log in histories().items():
        for each in log:
            for name, value in as_wandb(each).items():
                if name.endswith("_loss"):
                    row = cells.setdefault(each["num_input_tokens_seen"], {})
                    row |= {f"{run} - {name}{end}": value for end in ("", "__MIN", "__MAX")}
    frame = pd.DataFrame.from_dict(cells, orient="index").rename_axis("train/num_input_tokens_seen").reset_index()
    frame.to_csv(folder / "wandb_export.csv", index=False, quoting=csv.QUOTE_ALL)


def event_files(folder: Path) -> None:
    writer = pytest.importorskip("torch.utils.tensorboard", reason="the extra tensorboard is not installed")
    for run, log in histories().items():
        with writer.SummaryWriter(str(folder / run / "runs/Nov30_17-05-33_host")) as events:
            events.add_text("args", "{}")
            for each in map(as_wandb, log):
                step = each.pop("train/global_step")
                for name, value in each.items():
                    events.add_scalar(name, value, step)


KINDS = [states, checkpoints, history_of_all, frames, json_lines, chart, event_files]


@pytest.mark.parametrize("write", KINDS)
def test_logs_are_the_table_that_their_runs_would_be(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "study").mkdir()
    write(tmp_path / "study")
    read, notes = read_losses(tmp_path / "study", None, None)
    expected = studies.losses(tuple(NAMES), sizes=1, points=7)
    columns = ["ratio", "tokens", "general_loss", "domain_loss"]
    rows, expected = (frame[columns].sort_values(columns[:2]).astype(float) for frame in (read, expected))
    assert np.allclose(rows, expected, rtol=1e-6)
    assert any(note.startswith("columns are read by other names: 'eval") or "as tokens" in note for note in notes)
    (told,) = (note for note in notes if note.startswith("ratio is told by names: "))
    assert {text.rpartition(" as ")[2] for text in told.split(", ")} == {"0.125", "1/4", "50%"}


def test_one_file_and_what_was_assumed_stand_in_the_answer(tmp_path: Path) -> None:
    states(tmp_path)
    done = fit("cmr", "R-0.125/trainer_state.json", "--bootstrap", "0", "--json", "o.json", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = strict((tmp_path / "o.json").read_text())
    assert [laws["ratio"] for laws in found["groups"][0]["token_laws"]] == [0.125]
    for words in ("'eval_general_loss' as general_loss", "'num_input_tokens_seen' as tokens", "R-0.125 as 0.125"):
        assert any(words in note for note in found["read"]) and words in done.stdout


def test_steps_names_and_ratios_can_be_given(tmp_path: Path) -> None:
    for number, log in enumerate(histories().values()):
        renamed = [{name.replace("general_loss", "c4/ce"): v for name, v in each.items()} for each in log]
        short = [{name: v for name, v in each.items() if name != "num_input_tokens_seen"} for each in renamed]
        (tmp_path / f"r{number}.json").write_text(json.dumps(short))
    where = tmp_path.name
    (tmp_path / "map.txt").write_text(f"run,ratio\n{where}/r0,1/8\n{where}/r1,25%\n")
    given = ["--tokens-per-step", f"{STEP:g}", "--general-loss", "eval_c4/ce", "--runs", "map.txt"]
    done = fit("cmr", ".", *given, "--bootstrap", "0", "--table", "t.csv", "--json", "o.json", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = strict((tmp_path / "o.json").read_text())
    assert [laws["ratio"] for laws in found["groups"][0]["token_laws"]] == [0.125, 0.25]
    assert "tokens are steps times 10000" in found["read"]
    table = pd.read_csv(tmp_path / "t.csv")
    assert table["tokens"].max() == STEP * table["step"].max() and set(table["run"]) == {f"{where}/r0", f"{where}/r1"}
    again = fit("cmr", "t.csv", "--bootstrap", "0", "--json", "p.json", at=tmp_path)
    assert again.returncode == 0
    assert strict((tmp_path / "p.json").read_text())["groups"] == found["groups"]


def test_the_last_score_of_each_run_counts(tmp_path: Path) -> None:
    fractions = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
    chart = pd.DataFrame({"Step": [10, 20]})
    for at, fraction in enumerate(fractions):
        chart[f"cpt-{fraction} - gsm8k/acc"] = [0.1, 0.4 - (at - 3) ** 2 / 100]
    chart.to_csv(tmp_path / "chart.csv", index=False)
    flags = ["--budget", "1e9", "--bootstrap", "0", "--score", "gsm8k/acc"]
    done = fit("allocation", "chart.csv", *flags, "--json", "o.json", "--table", "t.csv", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    table = pd.read_csv(tmp_path / "t.csv")
    assert tuple(table["cpt_fraction"]) == fractions and table["score"].min() == pytest.approx(0.31)
    rows = [{"name": f"run {n}", "cpt_fraction": f, "summary/score": 0.3 + f / 10} for n, f in enumerate(fractions)]
    (tmp_path / "runs.json").write_text(json.dumps(rows))
    done = fit("allocation", "runs.json", "--budget", "1e9", "--bootstrap", "0", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def state(log: object) -> str:
    return json.dumps({"log_history": log})


NAN = [{"step": n, "num_input_tokens_seen": n, "eval_general_loss": 3.0, "eval_domain_loss": np.nan} for n in range(8)]
ONLY_LOSS = [{"step": 1, "eval_loss": 3.0, "num_input_tokens_seen": 9}]
NO_TOKENS = [{"step": 5, "eval_general_loss": 3.0, "eval_domain_loss": 3.0}]
FAULTS = {
    "broken": ("R-0.5/trainer_state.json", "{", "/R-0.5/trainer_state.json: line 1: cannot be read as JSON or CSV"),
    "no objects": ("R-0.5.json", '"text"', "R-0.5.json: cannot be read as JSON or CSV of what runs logged"),
    "deep": ("R-0.5.json", "[" * 100_000, "R-0.5.json: cannot be read as JSON or CSV of what runs logged"),
    "diverged": ("R-0.5/trainer_state.json", state(NAN), "domain_loss is 'NaN'; it must be a finite number (study/R-0"),
    "one loss": (
        "R-0.5/trainer_state.json",
        state(ONLY_LOSS),
        "no column 'general_loss', 'domain_loss'; the columns a",
    ),
    "no tokens": ("R-0.5/trainer_state.json", state(NO_TOKENS), "no column 'tokens'; the columns are"),
    "no ratio": (
        "lr-0.001-r-16/trainer_state.json",
        state(NAN),
        "no one ratio in the name of the run study/lr-0.001-r",
    ),
    "two ratios": ("R-0.5-mix-0.25/trainer_state.json", state(NAN), "no one ratio in the name of the run study/R-0.5-"),
    "nothing": ("notes.txt", "", "study: must hold trainer_state.json, event files, JSON or CSV"),
    "truncated": ("R-0.5.csv", "Step,eval/general_loss,eval/domain_loss\n1,2,3,4\n", "R-0.5.csv: cannot be read as"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_the_file(tmp_path: Path, fault: str) -> None:
    name, content, says = FAULTS[fault]
    file = tmp_path / "study" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    done = fit("cmr", "study", "--json", "o.json", at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "o.json").exists()


def test_folders_without_end_and_files_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    states(tmp_path)
    monkeypatch.setattr("repro.fit.logs.MOST_FILES", 50)
    assert "at most 50 files" in fit("cmr", ".", at=tmp_path).stderr
    (tmp_path / "again").unlink()
    os.truncate(tmp_path / "R-0.125/trainer_state.json", 2**30)
    assert "64 MiB of logs are read" in fit("cmr", ".", at=tmp_path).stderr
    assert "1,024 MiB are more than the 64 MiB" in fit("cmr", "R-0.125/trainer_state.json", at=tmp_path).stderr


def test_a_table_of_runs_names_only_runs_that_are_there(tmp_path: Path) -> None:
    states(tmp_path / "study")
    (tmp_path / "map.csv").write_text("run,ratio\nstudy/x,0.5\nstudy/R-0.125,2\n")
    told = fit("cmr", "study", "--runs", "map.csv", at=tmp_path).stderr.splitlines()
    assert told[0].startswith("map.csv: line 2: run must be one of study/50pct-seed0, study/R-0.125, study/ratio=1_4")
    assert (
        told[1]
        == "map.csv: line 3: ratio is '2'; it must be a number from 0 to 1 (if this is a percentage, write 0.02)"
    )


def test_without_the_extra_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.backend.event_processing.event_accumulator", None)
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"")
    done = fit("cmr", ".", at=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "event files are read with the package tensorboard: pip install '.[tensorboard]'" in done.stderr


def test_nothing_said_is_said_of_a_plain_table(tmp_path: Path) -> None:
    studies.losses(tuple(NAMES), sizes=1).assign(**{"a - b": 1}).to_csv(tmp_path / "l.csv", index=False)
    assert read_losses(tmp_path / "l.csv", None, None, Logs())[1] == []
