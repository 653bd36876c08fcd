"""Domains: items made from pinned data, divided between fine-tuning, benchmarks and text."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from repro.data.build import Asked, Division, Domain, build, exposure, mentioned
from repro.data.documents import Document, NearDuplicates, Questions
from repro.data.domains import RECIPES
from repro.data.domains.items import Item, Recipe, candidates, distractors, shuffled
from repro.data.pairs import BuiltIn, FolderPairs

DIVISION = Division(benchmark=Fraction(1, 4), questions=40, validation=Fraction(1, 10), near_duplicate=0.8)
NAMES = [
    "amber",
    "basalt",
    "cobalt",
    "dolomite",
    "emerald",
    "feldspar",
    "garnet",
    "halite",
    "iolite",
    "jasper",
    "kyanite",
    "lapis",
]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


class Texts:
    """A source of given documents."""

    label = "texts"

    def __init__(self, documents: list[Document]) -> None:
        self._documents = documents

    def documents(self) -> Iterator[Document]:
        yield from self._documents


def called(number: int) -> str:
    return f" {NAMES[number % 200 % 12]} {number % 200}"


def stone(number: int) -> Item:
    """Its wrong answers are stones of the same course, which are asked or taught together with it."""
    name = f"stone {number}"
    body = f"the {number}th stone of the long grey wall by river {number % 7}"
    return Item(
        name=name,
        group=f"course {number % 20}",
        body=body,
        prompt=f"Which stone is {body}?",
        answer=called(number),
        distractors=(called(number + 20), called(number + 40), called(number + 60)),
        benchmark="stones",
    )


class Stones:
    """A built-in domain of made-up items, which a test may change."""

    def __init__(self) -> None:
        self.items = [stone(number) for number in range(200)]


@pytest.fixture
def stones(monkeypatch: pytest.MonkeyPatch) -> Stones:
    made = Stones()
    recipe = Recipe(name="stones", packages={}, items=lambda: iter(made.items), benchmark="stones")
    monkeypatch.setitem(RECIPES, "stones", recipe)
    return made


def texts_of(*questions: str) -> list[Document]:
    prose = [f"Chapter {n} of the book on walls tells how mortar {n} was mixed in year {1700 + n}." for n in range(60)]
    return [Document(text=text) for text in (*prose, *questions)]


def stone_domain(*questions: str, against: tuple[Any, ...] = ()) -> Domain:
    return Domain(
        sources=(Texts(texts_of(*questions)),), pairs=(BuiltIn(builder="stones", digests=()),), against=against
    )


def test_no_group_is_both_asked_and_taught(stones: Stones, tmp_path: Path) -> None:
    counts = build(tmp_path, stone_domain(), DIVISION)
    asked = [row["item"] for row in lines(tmp_path / "stones.jsonl")]
    taught = pd.read_parquet(tmp_path / "pairs.parquet")
    groups = {item.name: item.group for item in stones.items}
    assert not {groups[name] for name in asked} & {groups[name] for name in taught["item"]}
    assert len(asked) == len(set(asked)) == 40 == counts["questions"]["stones"]
    assert taught["item"].is_unique and len(taught) == counts["pairs"]
    assert counts["pairs"] + counts["questions"]["stones"] + counts["spare"] + counts["dropped"]["pairs"] == 200
    assert json.loads((tmp_path / "statistics.json").read_text()) == counts


def test_questions_hold_the_pair_they_would_have_been(stones: Stones, tmp_path: Path) -> None:
    build(tmp_path, stone_domain(), DIVISION)
    by_name = {item.name: item for item in stones.items}
    for row in lines(tmp_path / "stones.jsonl"):
        item = by_name[row["item"]]
        assert row["question"] == item.prompt and row["choices"][row["answer"]] == item.answer
        assert len(set(row["choices"])) == 4
    places = Counter(row["answer"] for row in lines(tmp_path / "stones.jsonl"))
    assert set(places) == {0, 1, 2, 3} and max(places.values()) < 20


def test_the_order_of_the_data_says_nothing(stones: Stones, tmp_path: Path) -> None:
    files = ("pairs.parquet", "stones.jsonl")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        build(tmp_path / folder, stone_domain(), DIVISION)
        random.Random(1).shuffle(stones.items)
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_more_items_do_not_move_those_there_are(stones: Stones, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    build(tmp_path / "few", stone_domain(), DIVISION)
    before = set(pd.read_parquet(tmp_path / "few/pairs.parquet")["item"])
    stones.items = [*stones.items, *(stone(number) for number in range(200, 260))]
    build(tmp_path, stone_domain(), DIVISION)
    assert before <= set(pd.read_parquet(tmp_path / "pairs.parquet")["item"])


def test_texts_and_pairs_that_hold_a_question_are_dropped(stones: Stones, tmp_path: Path) -> None:
    build(tmp_path, stone_domain(), DIVISION)
    asked = {row["item"] for row in lines(tmp_path / "stones.jsonl")}
    taught = set(pd.read_parquet(tmp_path / "pairs.parquet")["item"])
    by_name = {item.name: item for item in stones.items}
    question, pair = (by_name[min(names)] for names in (asked, taught))
    stones.items.append(
        Item(name="copy", group="taught", body=f"Say: {question.body}", prompt="Say it.", answer=" granite a")
    )
    telling = [f"{'Of walls and rivers much is told. ' * 20}{item.body} is grey." for item in (question, pair)]
    counts = build(tmp_path, stone_domain(*telling), DIVISION)
    kept = [
        *pd.read_parquet(tmp_path / "training.parquet")["text"],
        *pd.read_parquet(tmp_path / "validation.parquet")["text"],
    ]
    assert telling[0] not in kept and telling[1] in kept
    assert (counts["dropped"]["documents"], len(kept)) == (1, 61)
    assert "copy" not in set(pd.read_parquet(tmp_path / "pairs.parquet")["item"])
    assert counts["dropped"]["pairs"] == 1


def test_documents_of_a_group_that_is_asked_about_are_dropped(stones: Stones, tmp_path: Path) -> None:
    build(tmp_path, stone_domain(), DIVISION)
    groups = {item.name: item.group for item in stones.items}
    asked = {groups[row["item"]] for row in lines(tmp_path / "stones.jsonl")}
    documents = [Document(text=f"All about wall {n} and nothing else.", topic=f"course {n}") for n in range(20)]
    domain = Domain(sources=(Texts(texts_of()), Texts(documents)), pairs=stone_domain().pairs)
    assert build(tmp_path, domain, DIVISION)["dropped"]["documents"] == len(asked) > 0


def test_right_and_wrong_choices_are_held_out_alike(stones: Stones, tmp_path: Path) -> None:
    stones.items = [
        replace(item, distractors=tuple(called(number + n) for n in (1, 2, 3)))
        for number, item in enumerate(stones.items)
    ]
    about = [Document(text=f"A stone of year {n}.", subject=called(n).strip().title()) for n in range(200)]
    telling = Document(text=f"{called(7).upper()} {called(8)} are dull.")
    domain = Domain(sources=(Texts([*texts_of(), *about, telling]),), pairs=stone_domain().pairs)
    few = replace(DIVISION, questions=10)
    counts = build(tmp_path, domain, few)
    choices = {choice for row in lines(tmp_path / "stones.jsonl") for choice in row["choices"]}
    taught = pd.read_parquet(tmp_path / "pairs.parquet")
    read = pd.concat([pd.read_parquet(tmp_path / f"{part}.parquet") for part in ("training", "validation")])
    assert not choices & set(taught["answer"])
    assert not {about[int(choice.split()[1])].text for choice in choices} & set(read["text"])
    by_answer = {item.answer: item.name for item in stones.items}
    aside = 200 - len(taught) - counts["dropped"]["pairs_of_choices"]
    assert aside == 10 + counts["spare"] and {by_answer[choice] for choice in choices}.isdisjoint(taught["item"])
    assert counts["dropped"]["pairs_of_choices"] > 0 == counts["dropped"]["pairs"]
    assert (counts["dropped"]["documents"], counts["dropped"]["documents_of_choices"]) == (0, len(choices))
    shares = {row["where"]: (row["right"], row["wrong"]) for row in counts["exposure"]}
    assert shares["SFT answers"] == shares["subjects of CPT documents"] == (0, 0)
    assert {row["benchmark"] for row in counts["exposure"]} == {"stones"}


def test_what_is_about_a_choice_of_another_domain_is_held_out(stones: Stones, tmp_path: Path) -> None:
    build(tmp_path, stone_domain(), DIVISION)
    row = lines(tmp_path / "stones.jsonl")[0]
    wrong = row["choices"][row["answer"] - 1].strip()
    about = Document(text="It is found in rivers.", subject=wrong.capitalize())
    stones.items = [Item(name=n, group=n, body=n, prompt=f"{n}?", answer=f" {wrong}") for n in ("a b", "c d")]
    stones.items.append(replace(stones.items[0], name="grey", prompt="What colour?", answer=" grey"))
    domain = Domain(sources=(Texts([*texts_of(), about]),), pairs=stone_domain().pairs)
    assert build(tmp_path, domain, DIVISION)["dropped"]["pairs_of_choices"] == 0
    other = Asked(pairs=(FixedPairs([stone(number) for number in range(200)]),), division=DIVISION)  # type: ignore[arg-type]
    counts = build(tmp_path, replace(domain, against=(other,)), DIVISION)
    assert (counts["pairs"], counts["exposure"]) == (1, [])
    assert (counts["dropped"]["pairs_of_choices"], counts["dropped"]["documents_of_choices"]) == (2, 1)


class FixedPairs:
    """Given items, as pairs come from anywhere."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def items(self) -> Iterator[Item]:
        yield from self._items


def test_answers_that_many_items_share_are_balanced(stones: Stones, tmp_path: Path) -> None:
    """Every stone is one of twelve sorts: none can be held out, so that wrong ones are taken from what is aside."""
    sorts = [(f" {NAMES[number % 12]}", item.group) for number, item in enumerate(stones.items)]
    stones.items = [
        replace(item, answer=sort[0], distractors=(), candidates=candidates(item.name, [sorts]))
        for item, sort in zip(stones.items, sorts, strict=True)
    ]
    counts = build(tmp_path, stone_domain(), DIVISION)
    asked = lines(tmp_path / "stones.jsonl")
    groups = {item.name: item.group for item in stones.items}
    taught = set(pd.read_parquet(tmp_path / "pairs.parquet")["item"])
    aside = {group for name, group in groups.items() if name not in taught}
    set_aside = {answer for answer, group in sorts if group in aside}
    assert len(asked) == 40 and all(len(set(row["choices"])) == 4 for row in asked)
    assert {choice for row in asked for choice in row["choices"]} <= set_aside
    assert counts["dropped"]["pairs_of_choices"] == 0 < counts["pairs"]


def test_the_questions_of_another_domain_are_kept_out_as_well(stones: Stones, tmp_path: Path) -> None:
    build(tmp_path, stone_domain(), DIVISION)
    row = lines(tmp_path / "stones.jsonl")[0]
    body = next(item.body for item in stones.items if item.name == row["item"])
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.jsonl").write_text('{"prompt": "Name a colour.", "answer": "grey"}\n')
    mine = FolderPairs.of(own)
    other = Asked(pairs=stone_domain().pairs, division=DIVISION)
    text = (Texts(texts_of(f"So {body} stands.")),)
    assert build(tmp_path, Domain(sources=text, pairs=(mine,)), DIVISION)["dropped"]["documents"] == 0
    assert build(tmp_path, Domain(sources=text, pairs=(mine,), against=(other,)), DIVISION)["dropped"]["documents"] == 1


def test_repeated_and_ambiguous_items_are_counted(stones: Stones, tmp_path: Path) -> None:
    first = stones.items[0]
    again = Item(name="again", group="x", body=first.body, prompt=first.prompt, answer=first.answer)
    two = [Item(name=n, group=n, body="b", prompt="Which of the two?", answer=f" {n}") for n in ("left", "right")]
    stones.items += [again, *two]
    dropped = build(tmp_path, stone_domain(), DIVISION)["dropped"]
    assert (dropped["repeated"], dropped["ambiguous"]) == (1, 2)
    assert not set(pd.read_parquet(tmp_path / "pairs.parquet")["prompt"]) & {"Which of the two?"}


def test_too_few_questions_pairs_or_texts_are_told(stones: Stones, tmp_path: Path) -> None:
    def division(**changes: Any) -> Division:
        return Division(
            **{"benchmark": Fraction(1, 4), "questions": 40, "validation": Fraction(1, 10)} | changes,
            near_duplicate=0.8,
        )

    with pytest.raises(ValueError, match=r"stones: 400 questions are asked for, but there are \d+; ask for fewer"):
        build(tmp_path, stone_domain(), division(questions=400))
    with pytest.raises(ValueError, match="no pair is left"):
        build(tmp_path, stone_domain(), division(benchmark=Fraction(1)))
    with pytest.raises(ValueError, match="validation part holds no document"):
        build(tmp_path, stone_domain(), division(validation=Fraction(0)))


def test_holding_a_question_covers_being_like_one() -> None:
    question = "a b c d e f g h i j"
    near = "a b c d e f g h i j k"
    held = Questions([question], 0.8)
    assert near in NearDuplicates([question], 0.8) and near in held
    long = f"{'nothing to see here today ' * 50}{question} {'and so it goes on ' * 50}"
    assert long not in NearDuplicates([question], 0.8) and long in held
    assert "a b c d e x f g h i j" not in held and question[::-1] not in held


def test_questions_too_short_for_a_shingle_are_looked_for_word_by_word() -> None:
    held = Questions(["Pterygium affecting the elbow.", "Webbed toes", "?"], 0.8)
    assert "Cubital pterygium: pterygium affecting the elbow. It is rare." in held
    assert "Pterygium affecting the knee and elbow" not in held and "pterygium affecting" not in held
    assert "of webbed toes" in held and "webbed" not in held and "" not in held and "?" not in held


def test_what_training_shows_of_choices_is_told_by_place() -> None:
    tin = Item(name="1", group="1", body="b", prompt="p", answer=" Tin", distractors=(" Lead foil", " Zinc", " Ore"))
    ore = replace(tin, name="2", answer=" Ore", distractors=(" Tin", " Zinc", " Brass"))
    texts = ["Lead, foil and TIN. A leaden\nfoil", "Tinfoil, brassy. Zinc"]
    rows = exposure({"metals": [tin, ore]}, [" zinc", " gold"], texts, ["Tin", "tin", "Ore"])
    assert rows == [
        {"benchmark": "metals", "where": "SFT answers", "right": 0.0, "wrong": 2 / 6},
        {"benchmark": "metals", "where": "CPT text", "right": 0.5, "wrong": 4 / 6},
        {"benchmark": "metals", "where": "subjects of CPT documents", "right": 1.0, "wrong": 2 / 6},
    ]
    assert mentioned(["one two three", "two three", "three four", "Four"], ["One, two; three", "four"]) == {
        "one two three",
        "two three",
        "Four",
    }


def test_distractors_come_from_the_nearest_tier_and_never_repeat_the_answer() -> None:
    near, far = shuffled([" Iron", " iron", " tin"]), shuffled([" tin", " lead", " zinc", " gold"])
    wrong = distractors("q", " iron", (near, far))
    assert wrong[0] == " tin" and len({*wrong, " iron"}) == 4
    assert distractors("q", " iron", (near, [])) == ()
    assert distractors("q", " iron", (near, far)) == wrong
