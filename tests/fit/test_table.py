"""Files that `repro fit` is given: what is told of wrong ones, and which are read."""

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers import studies
from helpers.fitting import fit, saved, strict
from repro.fit.losses import read_losses

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
        rows[6][3] = "3.1.4"
        rows[12][2] = "inf"

    (tmp_path / "losses.csv").write_text(edited(breaks))
    done = fit("cmr", "losses.csv", "--json", "o.json", "--html", "o.html", at=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    hint = " (if this is a percentage, write 0.014)"
    assert done.stderr.splitlines() == [
        f"losses.csv: line 4: ratio is '1.4'; it must be a number from 0 to 1{hint}",
        "losses.csv: line 5: tokens is '-5'; it must be a finite number, 0 or more",
        "losses.csv: line 6: general_loss is 'n/a'; it must be a finite number",
        "losses.csv: line 7: domain_loss is '3.1.4'; it must be a finite number",
        "losses.csv: line 13: general_loss is 'inf'; it must be a finite number",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["losses.csv"]


FAULTS: dict[str, tuple[str | bytes, str]] = {
    "percent": (edited(cell(9, 0, "50")), "line 9: ratio is '50'; it must be a number from 0 to 1 (if this is a perc"),
    "over 100%": (edited(cell(9, 0, "150%")), "line 9: ratio is '150%'; it must be a number from 0 to 1"),
    "too large": (
        edited(cell(9, 2, "1e308")),
        "line 9: general_loss is '1e308'; it must be a finite number (at most 1e+",
    ),
    "too small": (
        edited(cell(9, 2, "5e-324")),
        "line 9: general_loss is '5e-324'; it must be a finite number (0, or at least 1e-100 in size)",
    ),
    "thousands of digits": (edited(cell(9, 2, "9" * 5000 + "x")), "line 9: general_loss is '" + "9" * 37 + "...'; it"),
    "steps": (
        edited(cell(1, 1, "Step")),
        "line 1: no column 'tokens'; the columns are ratio, Step, general_loss, domain_loss (steps are no tokens: mul",
    ),
    "a date": (
        edited(lambda rows: [row.__setitem__(0, "01-Aug") for row in rows[2:8]]),
        "line 3: ratio is '01-Aug'; it must be a number from 0 to 1 (a spreadsheet took a fraction such as 1/8 for",
    ),
    "points and commas": (
        edited(lambda rows: [row.__setitem__(3, "4#2") for row in rows[2:]]).replace(",", ";").replace("#", ","),
        "line 3: domain_loss is '4,2'; it must be a finite number (decimal point, no thousands separators); more such",
    ),
    "a restart": (
        edited(lambda rows: rows.insert(5, ["0.125", "0", "4.9", "4.1"])),
        "line 6: is at 0 tokens, as line 2 is, but with other losses: leave it out if a run was restarted there",
    ),
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
    "not text": (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "not a CSV file: it must be text in UTF-8 or UTF-16"),
    "long header": (
        "x" * 131_073 + "\n1\n",
        "line 1: no column 'ratio', 'tokens', 'general_loss', 'domain_loss'; the co",
    ),
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
    saved(frame.assign(ratio=[f"{n} of 8" for n in range(len(frame))]), tmp_path)
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


def exported(frame: pd.DataFrame, kind: str) -> bytes:
    """The file as some tracker or spreadsheet writes it."""
    text = frame.to_csv(index=False)
    if kind == "one loss a row":
        halves = [frame.assign(**{loss: np.nan}) for loss in ("general_loss", "domain_loss")]
        return pd.concat(halves).sort_index(kind="stable").to_csv(index=False).encode()
    if kind in ("fractions", "percent"):
        written = frame["ratio"].map(
            lambda r: f"{r:.1%}" if kind == "percent" else str(Fraction(r).limit_denominator())
        )
        return frame.assign(ratio=written).to_csv(index=False).encode()
    if kind == "millions":
        return frame.assign(tokens=[f"{tokens / 1e6!r}M" for tokens in frame["tokens"]]).to_csv(index=False).encode()
    if kind == "one base for all seeds":
        return (
            frame.assign(seed=["" if tokens == 0 else "a" for tokens in frame["tokens"]]).to_csv(index=False).encode()
        )
    if kind == "UTF-16":
        return frame.to_csv(index=False, sep="\t").encode("utf-16")
    if kind == "decimal comma":
        return ("\ufeff" + frame.to_csv(index=False, sep=";", decimal=",", lineterminator="\r\n")).encode()
    changed = {
        "sep=": "sep=;\r\n" + text.replace(",", ";"),
        "comments": "# exported, by a tracker\n" + text.replace("\n", "\n# and so on\n", 2),
        "names": text.replace("ratio", "Ratio ", 1).replace("general_loss", "eval/General Loss", 1),
        "a wide header": ",".join(f"metric_{n}" for n in range(20_000)) + "," + text.replace("\n", "\n" + 20_000 * ","),
    }[kind]
    return changed.removesuffix(20_000 * ",").encode()


KINDS = {
    "one loss a row": "", "fractions": "ratio: '1/4' is read as 0.25 (line 2)", "percent": "ratio: '25.0%' is read as",
    "millions": "tokens: '0.0M' is read as 0 (line 2)", "one base for all seeds": "", "UTF-16": "", "sep=": "",
    "decimal comma": "general_loss: '4,2' is read as 4.2 (line 2)", "comments": "", "a wide header": "",
    "names": "columns are read by other names: 'Ratio' as ratio, 'eval/General Loss' as general_loss",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_trackers_and_spreadsheets_write_is_the_same_table(tmp_path: Path, kind: str) -> None:
    frame = studies.losses((1 / 4, 1 / 2), sizes=1, points=7)[["ratio", "tokens", "general_loss", "domain_loss"]]
    frame = frame.astype(float).reset_index(drop=True)
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    frame.to_csv(plain, index=False)
    other.write_bytes(exported(frame, kind))
    (one, _), (same, notes) = (read_losses(file, None, None) for file in (plain, other))
    columns = ["ratio", "tokens", "general_loss", "domain_loss"]
    assert np.allclose(one[columns], same[columns], rtol=1e-12)
    assert [note for note in notes if KINDS[kind] and note.startswith(KINDS[kind])] or (not KINDS[kind] and not notes)


def test_rows_with_one_loss_are_left_out_and_named(tmp_path: Path) -> None:
    frame = studies.losses((1 / 4, 1 / 2), sizes=1, points=12)[["ratio", "tokens", "general_loss", "domain_loss"]]
    frame = frame.reset_index(drop=True)
    frame.loc[[2, 4], "domain_loss"] = np.nan
    read, notes = read_losses(saved(frame, tmp_path), None, None)
    assert len(read) == len(frame) - 2
    assert notes == ["rows with one loss, and none at the same tokens has the other, are left out (lines 4 and 6)"]


def test_faults_of_one_kind_are_one_line(tmp_path: Path) -> None:
    frame = studies.losses((1 / 4, 1 / 2), sizes=1, points=7)
    twice = pd.concat([frame, frame.iloc[3:9]])[["ratio", "tokens", "general_loss", "domain_loss"]]
    saved(twice, tmp_path)
    told = fit("cmr", "losses.csv", at=tmp_path).stderr
    assert told.count("\n") == 1
    assert told.endswith("; more such lines: 5, the last is 21\n")


def test_rows_without_end_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.fit.table.MOST_ROWS", 10)
    saved(studies.losses(RATIOS, sizes=1), tmp_path)
    assert fit("cmr", "losses.csv", at=tmp_path).stderr == (
        "losses.csv: more than the 10 rows that are read: leave out points\n"
    )


HOSTILE = "\x1b[31mred\u202e\n\u2028\x07"


def test_what_a_label_holds_reaches_neither_terminal_nor_page_raw(tmp_path: Path) -> None:
    frame = studies.losses(RATIOS, sizes=2).drop(columns=["domain", "seed"])
    sizes = frame["size"].unique()
    saved(frame.replace({"size": {sizes[0]: HOSTILE, sizes[1]: "9" * 5000}}), tmp_path, "l\x1bosses.csv")
    done = fit("cmr", "l\x1bosses.csv", "--bootstrap", "0", "--html", "o.html", at=tmp_path)
    page = (tmp_path / "o.html").read_text()
    assert done.returncode == 0
    for text in (done.stdout, page):
        assert "\\x1b[31mred\\u202e\\n\\u2028\\x07" in text
        assert not set("\x1b\u202e\u2028\x07") & set(text)
        assert "9" * 70 in text and "9" * 100 not in text
    saved(frame.rename(columns={"ratio": HOSTILE}).assign(size=HOSTILE), tmp_path, "b\udcff.csv")
    told = fit("cmr", "b\udcff.csv", at=tmp_path).stderr
    assert told.startswith("b\\xff.csv: line 1: no column 'ratio'") and "\x1b" not in told


@pytest.mark.parametrize("flags", [
    ["--lagrange", "1e-300"], ["--lagrange", "1e15"], ["--t-max", "1e15"], ["--epsilon", "1e-300"], ["--t-max", "1M"],
])  # fmt: skip
def test_extreme_flags_are_answered_without_a_warning_of_numpy(tmp_path: Path, flags: list[str]) -> None:
    saved(studies.losses((1 / 8, 1 / 4, 1 / 2), sizes=1, points=7), tmp_path)
    done = fit("cmr", "losses.csv", "--bootstrap", "0", *flags, at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
