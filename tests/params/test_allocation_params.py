"""Parameters of paper B's study: what is wrong is told in one line before anything starts."""

from typing import Any

import pytest
import yaml

from helpers import ROOT
from repro import params
from repro.allocation.design import design
from repro.params import AllocationParams, ParamsError

VALUES: dict[str, Any] = yaml.safe_load((ROOT / "params/quick.yaml").read_text())
HUB = {"hub": "a/b", "revision": "main"}


def check(**values: Any) -> AllocationParams:
    return params.check(VALUES | values, AllocationParams)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"base_model": {}}, r"base_model: must have exactly one of package, folder, hub and own, not none"),
    (
        {"base_model": {"package": "a", "folder": "b"}},
        r"base_model: must have exactly one of .*, not package and folder",
    ),
    ({"base_model": {"hub": "a/b", "parameters": 3}}, r"base_model: a hub model needs a revision"),
    ({"base_model": HUB}, r"base_model: a hub model needs parameters, the number of its weights"),
    ({"domains": []}, r"domains: must be a list of 1 or more"),
    ({"domains": [{"name": "x"}]}, r"domains\[0\]: needs builtin, or both cpt and sft"),
    ({"domains": [{"name": "x", "builtin": "law"}]}, r"domains\[0\]\.builtin: must be 'health'"),
    ({"domains": [{"name": "a", "builtin": "health", "benchmarks": ["hpo_terms"]}] * 2}, r"domains and replay must"),
    ({"sft_tokens": [0, 20_000]}, r"sft_tokens must be at most the budget, 12288, not 20000"),
    ({"domains": [{"name": "x", "builtin": "health"}]}, r"domains\[0\]\.benchmarks must name at least one"),
    ({"replay": {"name": "x", "builtin": "general", "benchmarks": ["mmlu"]}}, r"replay\.benchmarks must be empty"),
    ({"chat_template": "no"}, r"chat_template: must be true or false, got 'no'"),
    ({"sft_tokens": [5, 5]}, r"sft_tokens must not repeat a value"),
    ({"sft_tokens": [-1]}, r"sft_tokens\[0\]: must be 0 or more, got -1"),
    ({"other_budgets": [{"budget": 12_288, "sft_tokens": [0]}]}, r"other_budgets must differ from budget"),
    ({"sft_rank": 16}, r"sft_adapter: continue needs one rank and alpha for CPT and SFT; else merge or second"),
    ({"sft_adapter": "add"}, r"sft_adapter: must be 'continue', 'merge' or 'second', got 'add'"),
    ({"cpt_lr": "3e-4"}, r"cpt_lr: must be a number, not text .*write 1\.0e-4\), got '3e-4'"),
    ({"lora_replay_share": 2}, r"lora_replay_share: must be between 0 and 1, got 2"),
    ({"lora_precision": "fp16"}, r"lora_precision: must be 'fp32' or 'bf16', got 'fp16'"),
    ({"unsafe_no_sandbox": "yes please"}, r"unsafe_no_sandbox: must be true or false"),
]


@pytest.mark.parametrize(("values", "says"), WRONG, ids=[says[:40] for _, says in WRONG])
def test_what_is_wrong_is_told_in_one_line(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=f"^{says}") as found:
        check(**values)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", sorted(params.required(AllocationParams)))
def test_a_missing_parameter_is_named(name: str) -> None:
    with pytest.raises(ParamsError, match=f"^{name}: missing$"):
        params.check({key: value for key, value in VALUES.items() if key != name}, AllocationParams)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"base_model": {"package": "hpo"}}, r"base_model\.package: no model 'hpo'; there are smollm2"),
        ({"base_model": {"folder": "/no/such"}}, r"base_model\.folder: /no/such holds no model"),
        (
            {"domains": [{"name": "x", "cpt": [HUB], "sft": {"folder": "/none"}, "benchmarks": ["mmlu"]}]},
            r"domains\[0\]\.sft\.folder: /none: no such folder or file",
        ),
        (
            {"domains": [{"name": "x", "builtin": "health", "benchmarks": ["elements"]}]},
            r"domains\[0\]\.benchmarks: elements is not made from this domain's items; its own are hpo_terms",
        ),
    ],
)
def test_what_does_not_exist_is_told(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=f"^{says}"):
        design(check(**values))
