"""Logs of training tools as the table that `repro fit` reads: trainer_state.json of Transformers, TensorBoard's event
files, and W&B's exports, CSV or JSON; one file, or a folder of them. What was taken for what is said.

Tokens are those logged, or steps times those of a step; ratio and seed are those logged, or stand in the run's name, or
in a reader's table of the runs.
"""

import io
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

import pandas as pd

from repro.fit import table
from repro.fit.numbers import SHARE, plain, written
from repro.fit.table import MOST_BYTES, SHOWN, Column, Fault, Table, WrongTable
from repro.output import shown, write

DECLARED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
MOST_FILES = 100_000  # in a folder: a link may lead back to where it is
BETWEEN = " - "  # a run and a metric, in the columns of W&B's charts
MEASURED = ("general_loss", "domain_loss", "score")
SPLITS = ("ratio", "cpt_fraction", "sft_tokens")
HOW = "name it as in R-0.25, ratio=1_4 or 25pct, or tell it in a table with --runs"
NO_TENSORBOARD = "event files are read with the package tensorboard: pip install '.[tensorboard]'"


@dataclass(frozen=True)
class Logs:
    """What a reader says of logs: the tool's name of a column, the tokens of a step, a table of the runs (``run``, and
    what its name would tell), and where to write the table that is put together.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    tokens_per_step: float | None = None
    runs: Path | None = None
    table: Path | None = None


NOTHING_SAID = Logs()


def read(path: Path, columns: Sequence[Column], logs: Logs) -> Table:
    """The wanted columns of a CSV file, as `table.read` has them, or of logs. Raises WrongTable as that does."""
    if (
        not path.is_dir()
        and logs == NOTHING_SAID
        and not any(fnmatch(path.name, kind) for kind in DECLARED["kinds"][:-1])
    ):
        header = table.opened(path).readline()
        if BETWEEN not in header or "tokens" in header.lower():
            return table.read(path, columns)
    wanted = [column.name for column in columns]
    logged = pd.concat([_frame(file, path) for file in (_files(path) if path.is_dir() else [path])], ignore_index=True)
    logged.columns, notes = table.named(list(map(str, logged)), [*wanted, *DECLARED["steps"], "run"], logs.named)
    rows = _points(logged, wanted)
    if logs.runs:
        rows = _with_table(rows, columns, logs.runs)
    notes += _told_by_name(path, rows, wanted)
    if logs.tokens_per_step:
        rows["tokens"] = [f"{plain(step) * logs.tokens_per_step:.15g}" for step in rows["step"]]
        notes.append(f"tokens are steps times {logs.tokens_per_step:.15g}")
    text = rows.to_csv(index=False)
    if logs.table:
        write(logs.table, text)
    notes.append(f"lines are those of the table that {shown(path.name)} was put together as; --table OUT writes it")
    found = table.parsed(path, io.StringIO(text), columns)
    faults = [each._replace(text=f"{each.text} ({rows['file'].iloc[each.line - 2]})") for each in found.faults]
    return Table(found.frame, faults, [*notes, *found.notes])


def _files(path: Path) -> list[Path]:
    """The logs in a folder, of one kind."""
    there = (Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names)
    files = sorted(islice((file for file in there if file.is_file()), MOST_FILES))
    kinds = [[file for file in files if fnmatch(file.name.lower(), kind)] for kind in DECLARED["kinds"]]
    found = next(filter(None, kinds), [])
    if not found or len(files) == MOST_FILES or sum(file.stat().st_size for file in found) > MOST_BYTES:
        what = f"at most {MOST_FILES:,} files and {MOST_BYTES // 2**20} MiB of logs are read"
        raise WrongTable(path, [Fault(0, f"must hold trainer_state.json, event files, JSON or CSV; {what}")])
    return found


def _frame(file: Path, root: Path) -> pd.DataFrame:
    """What a file logs, a row for what is logged at once, with the file and, where it says none, the run."""
    if fnmatch(file.name, "*tfevents*"):
        frame = _events(file)
    else:
        try:
            frame = _json(file) if file.suffix.lower().startswith(".json") else _csv(file)
        except (ValueError, TypeError, RecursionError) as error:
            if isinstance(error, WrongTable):
                raise
            line = getattr(error, "lineno", 0)
            raise WrongTable(file, [Fault(line, "cannot be read as JSON or CSV of what runs logged")]) from None
    name = file.resolve().relative_to(root.resolve().parents[0 if root.is_dir() else 1]).as_posix()
    frame["file"] = name
    return frame if {"run", "name"} & set(frame) else frame.assign(run=re.sub(DECLARED["not_run"], "", name))


def _events(file: Path) -> pd.DataFrame:
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError:
        raise WrongTable(file, [Fault(0, NO_TENSORBOARD)]) from None
    events = EventAccumulator(str(file), {"scalars": 0, "tensors": 0}).Reload()
    rows = [{"step": each.step, tag: each.value} for tag in events.Tags()["scalars"] for each in events.Scalars(tag)]
    for tag in events.Tags()["tensors"]:  # as TensorFlow and JAX log scalars; and texts, which no column is called like
        values = ((each.step, make_ndarray(each.tensor_proto)) for each in events.Tensors(tag))
        rows += [{"step": step, tag: value.item()} for step, value in values if value.size == 1]
    return pd.DataFrame(rows)


def _json(file: Path) -> pd.DataFrame:
    """A Trainer's log_history; or a history, or those of several runs by name, or a table, as W&B and pandas write."""
    text = table.opened(file).read().strip()
    lines = f"[{','.join(text.splitlines(keepends=True))}]"
    # A Trainer's NaN is a loss, and at fault; one of pandas is a gap.
    constant = str if '"log_history"' in text else float
    content = json.loads(lines if file.suffix.lower() == ".jsonl" else text, parse_constant=constant)
    if not isinstance(content, dict) or all(isinstance(each, dict) for each in content.values()):
        return pd.DataFrame(content)
    if "log_history" in content:
        return pd.DataFrame(content["log_history"])
    if {"columns", "data"} <= set(content):
        return pd.DataFrame(content["data"], columns=content["columns"])
    return pd.concat([pd.DataFrame(each).assign(run=run) for run, each in content.items()])


def _csv(file: Path) -> pd.DataFrame:
    """A history; or a chart, whose columns are called "run - metric"."""
    mark = max(table.SEPARATORS, key=table.opened(file).readline().count)
    lines = pd.read_csv(table.opened(file), sep=mark, dtype=str, header=None)  # below a header a longer row would shift
    frame = lines[1:].set_axis(names := lines.iloc[0].fillna("").tolist(), axis=1)
    chart = [name for name in names if BETWEEN in name and not name.endswith(("__MIN", "__MAX"))]
    if not chart:
        return frame
    runs = frame.set_index([name for name in names if BETWEEN not in name])[chart]
    runs.columns = pd.MultiIndex.from_tuples([tuple(name.rsplit(BETWEEN, 1)) for name in chart], names=["run", None])
    return pd.DataFrame(runs.stack("run", future_stack=True)).reset_index()


def _points(logged: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """The measured points, as texts. What a run logs at one step is one point; of several values the last is read."""
    rows = logged.apply(lambda column: column.map(str, na_action="ignore"))
    steps = rows[[name for name in DECLARED["steps"] if name in rows]].assign(none="").bfill(axis=1).iloc[:, 0]
    rows["step"] = steps.map(lambda text: text if (number := plain(text)) != number else f"{number:.15g}")
    # Of a run with steps the last score counts. What has no step stands for itself.
    at = rows["step"] if "score" not in wanted else rows["step"].mask(rows["step"] != "", "last")
    at = at.mask(at == "", rows.index.to_series().astype(str)).rename("at")
    measured = [name for name in MEASURED if name in rows]
    own = [name for name in wanted if name in rows and name not in (*measured, "tokens")]
    points: pd.DataFrame = rows.groupby(["run", *own, at], sort=False, dropna=False).last().reset_index()
    return points.drop(columns="at").dropna(subset=measured, how="all").reset_index(drop=True)


def _with_table(rows: pd.DataFrame, columns: Sequence[Column], file: Path) -> pd.DataFrame:
    """The rows of the runs in a reader's table, with what it tells of them."""
    told = [replace(each, required=False, blank=True) for each in columns if each.name not in rows]
    frame, faults, _ = table.read(file, [Column("run", kind="text"), *told])
    there = ", ".join(map(shown, rows["run"].unique()[:SHOWN]))
    unknown = frame.loc[~frame["run"].isin(rows["run"]), "line"]
    if faults := [*faults, *(Fault(line, f"run must be one of {there}", "run") for line in unknown)]:
        raise WrongTable(file, faults)
    return rows.merge(frame.drop(columns="line"), on="run")


def _told_by_name(path: Path, rows: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Set the share and the seed that names of runs tell where the logs do not; and a note of the shares."""
    if "seed" not in rows and (seeds := rows["run"].str.extract(DECLARED["seed"], expand=False)).notna().all():
        rows["seed"] = seeds
    if set(SPLITS) & set(rows):
        return []
    own = next(name for name in SPLITS if name in wanted and name in DECLARED["words"])
    shares = {run: _share(run, DECLARED["words"][own]) for run in rows["run"].unique()}
    if unclear := [shown(run) for run in rows.loc[rows["step"] != "0", "run"].unique() if not shares[run]]:
        raise WrongTable(path, [Fault(0, f"no one {own} in the name of the run {', '.join(unclear[:SHOWN])}: {HOW}")])
    rows[own] = rows["run"].map(shares)
    return [f"{own} is told by names: {', '.join(f'{shown(run)} as {share}' for run, share in shares.items())}"]


def _share(run: str, words: str) -> str:
    """The one share that the name of a run tells, as a cell; "" for none or several."""
    found = re.findall(DECLARED["behind"].format(words=words, share=DECLARED["share"]), run)
    found += [part for part in run.split("/") if re.fullmatch(DECLARED["share"], part)]
    texts = [re.sub("^0[_p]", "0.", text).replace("_", "/") for text in found]
    texts += [f"{text}%" for text in re.findall(DECLARED["percent"], run)]
    return texts[0] if len({written(text, SHARE) for text in texts}) == 1 else ""
