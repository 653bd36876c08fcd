"""Files that `repro fit` is given: what is told of wrong ones, and which are read."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import studies
from helpers.fitting import fit, saved, strict

RATIOS = (1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4)


def edited(change: Callable[[list[list[str]]], None]) -> str:
    """A sound file with something changed; its header is ratio, tokens, general_loss, domain_loss."""
    frame = studies.losses((1 / 4, 1 / 2), sizes=1, points=7)
    rows = [["ratio", "tokens", "general_loss", "domain_loss"]]
    rows += [[repr(float(v)) for v in row] for row in frame[rows[0]].to_numpy()]
    change(rows)
    return "\n".join(",".join(row) for row in rows) + "\n"


def cell(line: int, column: int, text: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[line - 1][column] = text

    return change


def test_five_broken_rows_give_five_messages_and_nothing_else(tmp_path: Path) -> None:
    def breaks(rows: list[list[str]]) -> None:
        rows[3][0] = "1.4"
        rows[4][1] = "-5"
        rows[5][2] = "n/a"
        rows[6][3] = ""
        rows[12][2] = "inf"

    (tmp_path / "losses.csv").write_text(edited(breaks))
    done = fit("cmr", "losses.csv", "--json", "o.json", "--html", "o.html", at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    hint = " (if this is a percentage, write 0.014)"
    assert done.stderr.splitlines() == [
        f"losses.csv: line 4: ratio is '1.4'; it must be a number from 0 to 1{hint}",
        "losses.csv: line 5: tokens is '-5'; it must be a finite number, 0 or more",
        "losses.csv: line 6: general_loss is 'n/a'; it must be a finite number",
        "losses.csv: line 7: domain_loss is empty; it must be a finite number",
        "losses.csv: line 13: general_loss is 'inf'; it must be a finite number",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["losses.csv"]


FAULTS: dict[str, tuple[str | bytes, str]] = {
    "percent": (edited(cell(9, 0, "50")), "line 9: ratio is '50'; it must be a number from 0 to 1 (if this is a perc"),
    "percent sign": (edited(cell(9, 0, "50%")), "line 9: ratio is '50%'; it must be a number from 0 to 1 (if this is"),
    "no ratio": (edited(cell(4, 0, "")), "line 4: ratio is empty; it must be a number from 0 to 1"),
    "NaN": (edited(cell(4, 2, "NaN")), "line 4: general_loss is 'NaN'; it must be a finite number"),
    "repeated": (
        edited(lambda rows: rows.append(rows[5])),
        "line 16: the same ratio and tokens as line 6 (runs that differ in their seed need a column seed)",
    ),
    "short row": (edited(lambda rows: rows[4].pop()), "line 5: has 3 fields, the header has 4"),
    "long row": (edited(lambda rows: rows[4].append("7")), "line 5: has 5 fields, the header has 4"),
    "missing column": (
        edited(cell(1, 1, "steps")),
        "line 1: no column 'tokens'; the columns are ratio, steps, general_loss, domain_loss",
    ),
    "column twice": (edited(lambda r: [row.append(row[0]) for row in r]), "line 1: column 'ratio' is there 2 times"),
    "no base": (
        edited(lambda rows: [rows.pop(n) for n in (8, 1)]),
        "line 2: no row with tokens 0 tells the losses before continual pretraining; add one, or give them with "
        "--base-general and --base-domain",
    ),
    "too few points": (
        edited(lambda rows: [rows.pop(2) for _ in range(3)]),
        "line 3: ratio 1/4 has 3 different tokens above 0 and up to T_max (1e+06); the token law needs at least 5",
    ),
    "header only": ("ratio,tokens,general_loss,domain_loss\n", "line 1: there are no rows below the header"),
    "empty": ("", "the file is empty"),
    "not text": (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "not a CSV file: it must be text in UTF-8"),
    "long header": ("x" * 131_073 + "\n1\n", "line 1: cannot be read as CSV: field larger than field limit (131072)"),
    "open quote": (edited(cell(4, 2, '"4.2')), "line 15: cannot be read as CSV: unexpected end of data"),
    "decimal comma": (
        edited(cell(4, 2, "4,2")).replace("4,2,", '"4,2",'),
        "line 4: general_loss is '4,2'; it must be a finite number (decimal point, no thousands separators)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_is_told_in_one_line(tmp_path: Path, fault: str) -> None:
    content, says = FAULTS[fault]
    file = tmp_path / "losses.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = fit("cmr", "losses.csv", "--json", "o.json", at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"losses.csv: {says}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o.json").exists()


def test_a_file_that_is_wrong_throughout_is_told_in_twenty_lines(tmp_path: Path) -> None:
    frame = studies.losses(RATIOS, sizes=1)
    saved(frame.assign(ratio=frame["ratio"] * 100), tmp_path)
    lines = fit("cmr", "losses.csv", at=tmp_path).stderr.splitlines()
    assert len(lines) == 21
    assert lines[-1] == f"losses.csv: and {len(frame) - 20} more"


@pytest.mark.parametrize("style", ["semicolons", "byte order mark and spaces", "further columns", "blank lines"])
def test_files_as_trackers_write_them_are_read(tmp_path: Path, style: str) -> None:
    frame = studies.losses(RATIOS, sizes=1).drop(columns=["domain", "seed"])
    if style == "semicolons":
        saved(frame, tmp_path, sep=";")
    elif style == "further columns":
        saved(frame.assign(step=range(len(frame)), note="a, b"), tmp_path)
    else:
        text = frame.to_csv(index=False)
        spaced = re.sub(",", " , ", text) if "spaces" in style else text.replace("\n", "\n\n") + ",,,,\n"
        (tmp_path / "losses.csv").write_text(spaced, encoding="utf-8-sig" if "mark" in style else "utf-8")
    done = fit("cmr", "losses.csv", "--bootstrap", "0", "--json", "o.json", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    group = strict((tmp_path / "o.json").read_text())["groups"][0]
    assert group["critical_ratio"]["turning_point"]["value"] == pytest.approx(0.4, abs=0.05)


def test_what_has_no_end_or_is_too_large_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "huge.csv").touch()
    os.truncate(tmp_path / "huge.csv", 2**30)
    for name, says in (
        ("pipe.csv", "pipe.csv: is no file: save the table as one\n"),
        ("/dev/zero", "/dev/zero: is no file: save the table as one\n"),
        ("huge.csv", "huge.csv: 1,024 MiB are more than the 64 MiB that are read: leave out columns that are not "),
    ):
        done = fit("cmr", name, at=tmp_path)
        assert done.returncode == 2 and done.stderr.startswith(says), done.stderr
