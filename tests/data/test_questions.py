"""Questions of the user's own: every way to write them, what cannot be asked, and what they keep out of training."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.texts import folder_source, prose
from repro.data.build import Division, Domain, build
from repro.data.pairs import FolderPairs
from repro.data.questions import OwnQuestions
from repro.lm.tasks import local
from repro.runs.spec import canonical

DIVISION = Division(benchmark=Fraction(1, 5), questions=8, validation=Fraction(1, 10), near_duplicate=0.8)
ASKED = [("Which metal is liquid?", "mercury", {"iron", "tin"}), ("How many legs?", "6", {"4", "8"})]


def questions(file: Path, content: str = "", name: str = "exam") -> OwnQuestions:
    if content:
        file.write_text(content, encoding="utf-8")
    return OwnQuestions.of(file, name=name)


def rows(*listed: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in listed)


def row(question: str, choices: list[str], answer: Any) -> dict[str, Any]:
    return {"question": question, "choices": choices, "answer": answer}


LEGS = ["4", "6", "8"]
METALS = ["iron", "mercury", "tin"]
FORMATS = {
    "letters.jsonl": rows(row(ASKED[0][0], METALS, "B"), row(ASKED[1][0], LEGS, "B")),
    "places.json": json.dumps([row(ASKED[0][0], METALS, 1), row(ASKED[1][0], LEGS, 1)]),
    "texts.jsonl": rows(
        {"prompt": f" {ASKED[0][0]}\n", "options": METALS, "answer": "mercury"},
        {"prompt": ASKED[1][0], "options": [4, 6, 8], "answer": 6},
    ),
    "named.jsonl": rows(
        {"question": ASKED[0][0], "options": dict(zip("ABC", METALS, strict=True)), "answer_idx": "B"},
        {"question": ASKED[1][0], "options": dict(zip("ABCD", [*LEGS, None], strict=True)), "answer_idx": "B"},
    ),
    "columns.csv": f"question,A,B,C,D,answer\n{ASKED[0][0]},iron,mercury,tin,,B\n{ASKED[1][0]},4,6,8,,6\n",
    "cells.csv": f"question;choices;answer\n{ASKED[0][0]};"
    f'"[""iron"", ""mercury"", ""tin""]";B\n{ASKED[1][0]};"[4, 6, 8]";1\n',
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_questions_are_read_in_every_format(name: str, tmp_path: Path) -> None:
    found = questions(tmp_path / name, FORMATS[name]).items()
    assert [(item.prompt, item.answer, set(item.distractors)) for item in found] == ASKED
    for item in found:
        assert item.benchmark == "exam" and item.question["choices"][item.question["answer"]] == item.answer


def test_questions_of_parquet_and_of_a_folder(tmp_path: Path) -> None:
    for number, (question, answer, wrong) in enumerate(ASKED):
        pd.DataFrame([row(question, [*sorted(wrong), answer], 2)]).to_parquet(tmp_path / f"{number}.parquet")
    (tmp_path / "notes.txt").write_text("not asked")
    found = questions(tmp_path)
    assert [(item.prompt, item.answer, set(item.distractors)) for item in found.items()] == ASKED
    assert found.check(whole=False).startswith("exam, 2 questions: folder ")
    assert found.check(whole=False).endswith("2 files; skipped: notes.txt (another kind of file)")


def test_an_answer_alone_is_a_reference(tmp_path: Path) -> None:
    found = questions(tmp_path / "a.csv", "prompt,completion\nWho?,I\nWhere?,here\n").items()
    assert [(item.prompt, item.choices) for item in found] == [("Who?", ("I",)), ("Where?", ("here",))]
    assert [item.question["answer"] for item in found] == [0, 0]


GOOD = row("Which?", ["a", "b"], "a")
WRONG: dict[str, tuple[Any, str]] = {
    "no such answer": ({"answer": "c"}, "the answer 'c' must be the text, letter or index from 0 of one choice"),
    "no answer": ({"answer": None}, "a choice, or the answer, is empty"),
    "beyond": ({"answer": 2}, "the answer '2' must be the text, letter or index from 0 of one choice"),
    "two readings": (
        {"choices": [2, 1, 0], "answer": 2}, "the answer '2' must be the text, letter or index from 0 of one choice",
    ),
    "equal": ({"choices": ["a", "b", " a"]}, "a choice is there twice"),
    "empty": ({"question": " \n"}, "the question is empty"),
    "empty choice": ({"choices": ["a", ""]}, "a choice, or the answer, is empty"),
    "one": ({"choices": ["a"]}, "choices must be a list of two choices or more"),
    "text": ({"choices": "a or b"}, "choices must be a list of two choices or more"),
    "number": ({"choices": 4}, "choices must be a list of two choices or more"),
    "an object": ({"choices": ["a", {"b": 1}]}, "the field 'B' must be text, not an object"),
    "again": ({"choices": ["b", "a"], "question": "First?"}, "asks the same as a question before it"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_asked_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    change, says = WRONG[name]
    file = tmp_path / "exam.jsonl"
    found = questions(file, rows(GOOD | {"question": "First?"}, GOOD | change))
    for ask in (found.items, lambda: found.check(whole=False)):
        with pytest.raises(ValueError, match="line 2") as error:
            ask()
        assert str(error.value) == f"{file}, line 2: {says}"


def test_a_missing_field_is_named_and_so_are_questions_of_two_kinds_and_too_few(tmp_path: Path) -> None:
    file = tmp_path / "exam.jsonl"
    with pytest.raises(ValueError, match=r"line 1 has no field 'question'; it has 'q', 'answer'$"):
        questions(file, rows({"q": "Which?", "answer": "a"})).items()
    with pytest.raises(ValueError, match=r"line 2: all questions must have choices, or none$"):
        questions(file, rows(GOOD, {"question": "Who?", "answer": "I"})).items()
    with pytest.raises(ValueError, match=r"exam\.jsonl: must hold two questions or more, not 1$"):
        questions(file, rows(GOOD)).items()
    with pytest.raises(ValueError, match=r"holds no \.jsonl, \.parquet, \.json or \.csv file"):
        questions(tmp_path / "notes.txt", "none")


def test_questions_that_changed_are_not_asked(tmp_path: Path) -> None:
    found = questions(tmp_path / "exam.jsonl", FORMATS["letters.jsonl"])
    assert canonical(found) == {"type": "OwnQuestions", "digest": found.digest, "name": "exam"}
    (tmp_path / "exam.jsonl").write_text(FORMATS["texts.jsonl"])
    with pytest.raises(ValueError, match="has changed since the study was opened"):
        found.items()


EXAM = rows(
    row("Which river carries cold water to the northern hills in spring?", ["yes", "no"], "yes"),
    row("Does every market depend on trade by sea in the third year?", ["yes", "no"], "no"),
    row("What is the salt of the third king made of, as the old theory has it?", ["halite", "gypsum"], "halite"),
    row("Which line\u2028or paragraph stands between these two words?", ["a", "b"], "a"),
)
PAIRS = [
    ("Tell me: which river carries cold water to the northern hills in spring?", "the first", "pairs"),
    ("Is the sea cold?", "yes", ""),
    ("What is rock salt called?", "Halite", "pairs_of_choices"),
    ("What is used for plaster?", "gypsum", "pairs_of_choices"),
    ("What is used for bread?", "flour", ""),
]


def test_what_gives_a_question_away_is_dropped_and_counted(tmp_path: Path) -> None:
    """A choice that several questions share, such as "yes", cannot be held out; the others are, right and wrong."""
    (tmp_path / "pairs.jsonl").write_text(rows(*({"prompt": p, "answer": a} for p, a, _ in PAIRS)))
    leak = "Some say: which river carries cold water to the northern hills in spring? Others do not."
    domain = Domain(
        sources=(folder_source(tmp_path / "text", [*prose(40), leak]),),
        pairs=(FolderPairs.of(tmp_path / "pairs.jsonl"),),
        questions=(
            questions(tmp_path / "exam.jsonl", EXAM),
            questions(tmp_path / "refs.csv", "prompt,answer\nWho named it?,the king\nWho else did?,yes\n", "refs"),
        ),
    )
    out = tmp_path / "out"
    out.mkdir()
    counts = build(out, domain, DIVISION)
    assert counts["questions"] == {"exam": 4, "refs": 2} and counts["pairs"] == 2
    assert counts["dropped"] == {
        "repeated": 0, "ambiguous": 0, "pairs": 1, "documents": 1, "pairs_of_choices": 2, "documents_of_choices": 0,
    }  # fmt: skip
    kept = pd.read_parquet(out / "pairs.parquet")["prompt"]
    assert set(kept) == {prompt for prompt, _, why in PAIRS if not why}
    assert {shown["benchmark"] for shown in counts["exposure"]} == {"exam"}, (
        "of a reference answer there are no wrong ones"
    )
    asked = list(local.read(out / "exam.jsonl"))
    assert [one["question"] for one in asked] == [json.loads(line)["question"] for line in EXAM.splitlines()]
    assert len(local.read(out / "refs.jsonl")) == 2


def test_a_question_asked_with_other_choices_each_time_is_told_by_its_answer(tmp_path: Path) -> None:
    """Else every pair that opens so would be dropped."""
    opening = "Which of these statements about the third king is true?"
    listed = [row(opening, [f"truth {n}", f"lie {n}"], 0) for n in range(3)]
    found = questions(tmp_path / "exam.jsonl", rows(*listed)).items()
    assert [item.body for item in found] == [f"{opening} truth {n}" for n in range(3)]
    assert all(not item.candidates for item in found) and len({item.name for item in found}) == 3
