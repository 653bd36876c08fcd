"""Which benchmarks of lm-eval are scored here: those that offer choices, compared by their likelihoods."""

from types import SimpleNamespace
from typing import Any

import pytest

from repro.allocation.plan import plan
from repro.lm import benchmarks
from repro.params import AllocationParams, ParamsError, check, preset_file, read

CHOICES = {"output_type": "multiple_choice"}


def entry(kind: str, settings: dict[str, Any] | None = None, tags: set[str] | None = None) -> SimpleNamespace:
    return SimpleNamespace(kind=SimpleNamespace(name=kind), cfg=settings, tags=tags or set())


INDEX = {
    "letters": entry("TASK", CHOICES),
    "gsm8k": entry("TASK", {"output_type": "generate_until"}),
    "mbpp": entry("TASK", {"output_type": "generate_until", "unsafe_code": True}),
    "wikitext": entry("TASK", {"output_type": "loglikelihood_rolling"}),
    "by its own rule": entry("TASK", CHOICES | {"process_results": "utils.mc2"}),
    "program": entry("PY_TASK", {"class": "squad.Squad"}),
    "untold": entry("TASK", {}),
    "all right": entry("GROUP", {"task": ["letters", {"task": "letters"}]}),
    "part right": entry("GROUP", {"task": ["letters", "inner"]}),
    "inner": entry("TAG", tags={"gsm8k", "letters"}),
}
WRONG = sorted(INDEX.keys() - {"letters", "all right"})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "tasks", lambda: SimpleNamespace(task_index=INDEX))


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("name", [*WRONG, "no_such"])
def test_what_asks_for_more_than_a_choice_is_refused_by_name(name: str) -> None:
    says = "is neither a benchmark of this project nor a task" if name == "no_such" else "cannot be scored here"
    with pytest.raises(
        ValueError, match=rf"^'{name}' {says}.*; must be one of humaneval, .*lm-eval that offers choices"
    ):
        benchmarks.require_scored(["letters", "all right", "hpo_terms", "mmlu", name])


@pytest.mark.usefixtures("index")
def test_the_plan_refuses_it_too() -> None:
    values = read(preset_file("quick"))
    (domain,) = values["domains"]
    params = check(values | {"domains": [domain | {"benchmarks": ["hpo_terms", "gsm8k"]}]}, AllocationParams)
    with pytest.raises(ParamsError, match=r"^benchmarks: 'gsm8k' cannot be scored here; must be one of "):
        plan(params)


@pytest.mark.slow
def test_what_is_known_to_be_scored_is_by_lm_evals_index(monkeypatch: pytest.MonkeyPatch) -> None:
    known = benchmarks.KNOWN
    monkeypatch.setattr(benchmarks, "KNOWN", ("none", "of", "these", "names"))
    benchmarks.require_scored(known)
    for name in ("mbpp", "gsm8k", "humaneval_instruct", "wikitext", "squadv2", "truthfulqa_mc2", "mmlu_pro"):
        with pytest.raises(ValueError, match=f"^'{name}' cannot be scored here"):
            benchmarks.require_scored([name])
