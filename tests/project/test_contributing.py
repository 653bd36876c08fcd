"""The diffs on the page for contributors apply, and what they add works."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import ROOT

PAGE = (ROOT / "book/contributing.md").read_text()
SECTIONS = [section.split("\n", 1) for section in PAGE.split("\n## ")[1:]]
DIFFS = {title: text.split("```diff\n")[1].split("```\n")[0] for title, text in SECTIONS if "```diff" in text}
LONGEST = 40  # lines that a diff adds or removes

DOMAIN = """
from repro.allocation.materials import material
from repro.data.domains import MADE_HERE
from repro.params import AllocationParams, check, preset_file, read
from repro.runs import Machine, Store, run

params = check(read(preset_file("smoke")), AllocationParams)
stage = material(params, params.domains[-1], "domains[1]")
store = Store(Path("runs"))
run([stage], store, Machine())
folder = store.finished(stage)
questions = [json.loads(line) for line in (folder / "python_modules.jsonl").read_text().splitlines()]
pairs = pd.read_parquet(folder / "pairs.parquet")
answer(
    name=stage.name,
    benchmarks=list(MADE_HERE),
    questions=questions,
    taught=list(pairs["item"]),
    prompt=pairs["prompt"].iloc[0],
)
"""

BENCHMARK = """
from repro.allocation.results import chance
from repro.lm.evaluation import OURS, evaluate
from repro.lm.models import Shape, new_model
from repro.lm.sequences import train_tokenizer

wrong = {f"distractor{n}": f"wrong {n}" for n in (1, 2, 3)}
rows = [{"question": f"What is {n}?", "correct_answer": f"number {n}", **wrong} for n in range(3)]
Path("sciq_closed.jsonl").write_text("\\n".join(map(json.dumps, rows)))
tokenizer = train_tokenizer([json.dumps(rows)], 280)
model = new_model(Shape(hidden=16, intermediate=32, layers=1, heads=2), 280, context=128, seed=0)
frame = evaluate(model, tokenizer, ["sciq_closed"], folder=Path())
answer(
    ours="sciq_closed" in OURS,
    chance=chance("sciq_closed"),
    status=list(frame["status"]),
    length=list(frame["length"]),
    signs=bool((frame["right"] == (frame["margin"] > 0)).all()),
)
"""

LAW = """
from repro.laws.cmr.laws import RATIO_LAWS
from repro.laws.comparison import compare

ratios = np.linspace(0.1, 0.9, 9)
losses = 3 - 0.5 * np.sqrt(ratios) + 1e-4 * np.random.default_rng(0).standard_normal(9)
law = next(law for law in RATIO_LAWS if law.name == "square root of R")
answer(fitted=law.fit(ratios, losses).params, compared=list(compare(RATIO_LAWS, ratios, losses)["law"]))
"""

STAGE = """
from fractions import Fraction
from repro.data.build import Division, Domain
from repro.data.pairs import FolderPairs
from repro.data.sources import FolderSource
from repro.runs import Machine, Store, run
from repro.stages.lengths import AnswerLengths
from repro.stages.texts import Material

texts, pairs = Path("texts"), Path("own")
for folder in (texts, pairs):
    folder.mkdir()
for n in range(40):
    (texts / f"{n}.txt").write_text(f"Page {n} of a book about number {n * n}.")
(pairs / "a.jsonl").write_text('{"prompt": "One?", "answer": "1"}\\n{"prompt": "Twelve?", "answer": "12"}\\n')
material = Material(
    name="numbers",
    domain=Domain(
        sources=(FolderSource.of(texts),),
        pairs=(FolderPairs.of(pairs),),
    ),
    division=Division(benchmark=Fraction(1, 5), questions=0, validation=Fraction(1, 4), near_duplicate=0.9),
)
stage, store = AnswerLengths(material=material), Store(Path("runs"))
run([stage], store, Machine())
lengths = pd.read_parquet(store.finished(stage) / "lengths.parquet")
answer(label=stage.label, lengths=sorted(lengths["characters"].tolist()), done=store.has(material))
"""

TASKS = "import test_tasks_version\n\ntest_tasks_version.test_tasks_are_those_of_the_stages_version()\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the diffs change."""
    for name in ("src/repro", "params", "tests/lm"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def changed(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if re.match(r"[+-](?!\+\+ |-- )", line)]


def after(copy: Path, example: str, program: str) -> Any:
    """What a program says, in a process of its own, once the diff of an example has been applied to the copy."""
    subprocess.run(["git", "apply", "-"], input=DIFFS[example], text=True, cwd=copy, check=True)
    head = "import json, sys\nfrom pathlib import Path\nimport numpy as np, pandas as pd\n"
    said = "def answer(**values):\n    print(json.dumps(values, default=float))\n"
    paths = os.pathsep.join(map(str, (copy / "src", copy / "tests/lm")))
    environment = os.environ | {"PYTHONPATH": paths, "REPRO_HOME": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", head + said + program]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_example_is_short() -> None:
    assert list(DIFFS) == ["A domain", "A benchmark", "An alternative to a law", "A kind of run"]
    assert PAGE.count("```diff") == len(DIFFS)
    assert not {name: len(changed(diff)) for name, diff in DIFFS.items() if len(changed(diff)) > LONGEST}


@pytest.mark.ci
def test_a_domain_takes_four_edits_and_builds_pairs_and_questions(copy: Path) -> None:
    edited = re.findall(r"^\+\+\+ b/(\S+)$", DIFFS["A domain"], re.MULTILINE)
    assert len(edited) == 4
    built = after(copy, "A domain", TASKS + DOMAIN)
    assert built["name"] == "library" and built["benchmarks"][-1] == "python_modules"
    asked = {question["item"] for question in built["questions"]}
    assert len(asked) == 12 and len(built["taught"]) > 100 and not asked & set(built["taught"])
    for question in built["questions"]:
        assert question["choices"][question["answer"]] == f" {question['item']}" and len(set(question["choices"])) == 4
    assert built["prompt"].startswith("Question: Which module is this? ")


@pytest.mark.ci
def test_a_benchmark_is_asked(copy: Path) -> None:
    asked = after(copy, "A benchmark", TASKS + BENCHMARK)
    assert asked == {"ours": True, "chance": 0.25, "status": ["scored"] * 3, "length": [9] * 3, "signs": True}


def test_a_law_is_fitted_and_compared(copy: Path) -> None:
    found = after(copy, "An alternative to a law", LAW)
    assert found["fitted"] == pytest.approx({"alpha": -0.5, "beta": 3}, abs=0.01)
    assert found["compared"][0] == "square root of R" and len(found["compared"]) == 5


def test_a_kind_of_run_is_done_after_what_it_builds_on(copy: Path) -> None:
    done = after(copy, "A kind of run", STAGE)
    assert done == {"label": "answer lengths of numbers", "lengths": [1, 2], "done": True}


def test_parameters_know_the_domains_and_stay_light() -> None:
    program = "import sys, repro.params; print(*{'torch', 'pandas', 'pyarrow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
