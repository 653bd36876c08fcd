"""Benchmarks run through lm-eval on tiny models, against direct computations and lm-eval's own model class."""

import copy
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from helpers import ROOT
from helpers.texts import OBJECTS, SUBJECTS, VERBS, prose
from repro.data.domains import MADE_HERE
from repro.lm import harness
from repro.lm.evaluation import COLUMNS, evaluate
from repro.lm.models import Shape, new_model
from repro.lm.sequences import train_tokenizer
from repro.lm.tasks import local

TASKS = ROOT / "src/repro/lm/tasks"
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(prose(200), 400)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> Iterator[LlamaForCausalLM]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = new_model(Shape(layers=2, hidden=32, heads=2, intermediate=64), len(tokenizer), context=256, seed=3)
    for weights in made.parameters():
        weights.data *= 4  # so that a fresh model has opinions
    yield made
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def adapted(model: LlamaForCausalLM) -> PeftModel:
    torch.manual_seed(5)
    base = LlamaForCausalLM(model.config).to(torch.bfloat16)
    made = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    assert isinstance(made, PeftModel)
    return made.train()


def questions(number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Questions of unequal length whose choices have from one token to some ten, several of one opening."""
    rng = random.Random(seed)
    made = []
    for n in range(number):
        words = rng.sample(SUBJECTS + OBJECTS, rng.randint(1, 4))
        choices = [f"{rng.choice(OBJECTS)} in {rng.randint(1000, 1999)}" for _ in range(2)]
        choices += [choices[0] + " again", rng.choice("abc") * rng.randint(1, 3) + "!"]
        question = f"What {rng.choice(VERBS)} {', '.join(words)}?\nAnswer:"
        made.append({"item": f"q{n}", "question": question, "choices": choices, "answer": n % 4})
    return made


PROBLEMS = [
    {
        "task_id": f"HumanEval/{n}",
        "prompt": f'def f{n}(x):\n    """Add {n}."""\n',
        "entry_point": f"f{n}",
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
    }
    for n in range(5)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "hpo_terms.jsonl", questions(23))
    write(tmp_path / "humaneval.jsonl", PROBLEMS)
    return tmp_path


def directly(model: Any, tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str) -> float:
    """log p(answer | prompt) by one plain forward pass."""
    start = len(tokenizer.encode(prompt))
    ids = tokenizer.encode(prompt + answer)
    with torch.no_grad():
        logprobs = model(torch.tensor([ids[:-1]])).logits[0].float().log_softmax(-1)
    return sum(float(logprobs[n - 1, ids[n]]) for n in range(start, len(ids)))


def test_log_likelihoods_are_those_of_a_forward_pass_of_each_choice(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    frame = evaluate(model, tokenizer, ["hpo_terms"], folder=folder, batch=4)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == COLUMNS
    for question, row in zip(questions(23), frame.itertuples(), strict=True):
        scores = [directly(model, tokenizer, question["question"], " " + choice) for choice in question["choices"]]
        by_length = [score / len(choice) for score, choice in zip(scores, question["choices"], strict=True)]
        right = question["answer"]
        assert row.item == question["item"] and row.status == "scored" and row.response == ""
        assert row.logprob == pytest.approx(scores[right], abs=1e-4)
        assert row.length == len(question["choices"][right]) + 1
        assert row.margin == pytest.approx(scores[right] - max(s for n, s in enumerate(scores) if n != right), abs=1e-4)
        assert row.chosen == int(np.argmax(scores)) and row.right == (row.chosen == right) == (row.margin > 0)
        assert row.right_norm == (int(np.argmax(by_length)) == right)
    assert 0 < frame["right"].mean() < 1 and (frame["right"] != frame["right_norm"]).any()


def test_questions_of_the_users_own_are_scored_like_any_other(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    write(folder / "exam.jsonl", questions(23))
    ours = evaluate(model, tokenizer, ["hpo_terms"], folder=folder)
    theirs = evaluate(model, tokenizer, ["exam"], folder=folder, own=["exam"], hub=True)
    assert set(theirs["benchmark"]) == {"exam"}
    pd.testing.assert_frame_equal(theirs.drop(columns="benchmark"), ours.drop(columns="benchmark"))
    with pytest.raises(ValueError, match=r"^none: there is no /\S+/none\.jsonl$"):
        evaluate(model, tokenizer, ["none"], folder=folder, own=["none"], hub=True)


def test_a_reference_answer_is_right_where_greedy_decoding_gives_it(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    def after(prompt: str) -> str:
        ids = torch.tensor([tokenizer.encode(prompt)])
        word = tokenizer.decode(model(ids).logits[0, -1].argmax())
        return (
            word if word[0] == " " and word.strip() and len(tokenizer.encode(prompt + word)) == ids.shape[1] + 1 else ""
        )

    prompt, word = next((prompt, after(prompt)) for prompt in prose(200, 1) if after(prompt))
    said = [{"item": "said", "question": prompt, "choices": [word.strip()], "answer": 0}]
    write(folder / "refs.jsonl", [*said, {"item": "not", "question": prompt, "choices": ["cold water"], "answer": 0}])
    frame = evaluate(model, tokenizer, ["refs"], folder=folder, own=["refs"]).set_index("item")
    assert frame["right"].to_dict() == {"said": True, "not": False}
    assert frame["logprob"]["not"] == pytest.approx(directly(model, tokenizer, prompt, " cold water"), abs=1e-4)
    assert frame["length"]["not"] == len(" cold water")
    assert frame[["right_norm", "margin", "chosen"]].isna().all(axis=None), "there is nothing to choose from"


@pytest.mark.parametrize("benchmark", ["hpo_terms", "humaneval"])
def test_a_model_whose_scores_are_not_numbers_is_refused(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, benchmark: str
) -> None:
    """Its first choice would be the right one now and then."""
    broken = copy.deepcopy(model)
    broken.lm_head.weight.data[:] = math.nan
    with pytest.raises(FloatingPointError, match=r"log-probability .*is not a number"):
        evaluate(broken, tokenizer, [benchmark], folder=folder, batch=4)


def test_reading_a_prompt_once_changes_nothing_but_rounding(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, forward = [], LlamaForCausalLM.forward

    def counting(self: Any, *arguments: Any, **options: Any) -> Any:
        tokens.append((options.get("input_ids") if "input_ids" in options else arguments[0]).numel())
        return forward(self, *arguments, **options)

    monkeypatch.setattr(LlamaForCausalLM, "forward", counting)
    shared = evaluate(model, tokenizer, ["hpo_terms", "humaneval"], folder=folder)
    spent = sum(tokens)
    monkeypatch.setattr(harness.SharedPrompts, "_shares", lambda _: False)
    plain = evaluate(model, tokenizer, ["hpo_terms", "humaneval"], folder=folder)
    assert sum(tokens) - spent > 1.5 * spent
    pd.testing.assert_frame_equal(shared, plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_neither_the_batch_nor_the_order_of_the_questions_changes_a_decision(
    batch: int, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, tmp_path: Path
) -> None:
    rows = questions(23)
    frame = evaluate(model, tokenizer, ["hpo_terms"], folder=folder)
    pd.testing.assert_frame_equal(
        evaluate(model, tokenizer, ["hpo_terms"], folder=folder, batch=batch), frame, rtol=0, atol=1e-4
    )
    random.Random(1).shuffle(rows)
    write(tmp_path / "shuffled/hpo_terms.jsonl", rows)
    shuffled = evaluate(model, tokenizer, ["hpo_terms"], folder=tmp_path / "shuffled")
    assert list(shuffled["item"]) == [row["item"] for row in rows]
    ordered = shuffled.set_index("item").loc[frame["item"]].reset_index()[frame.columns]
    pd.testing.assert_frame_equal(ordered, frame, check_exact=True)


def test_a_model_in_training_stays_as_it_was_and_nothing_is_printed(
    adapted: PeftModel, tokenizer: PreTrainedTokenizerFast, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    adapted.base_model.model.model.norm.eval()
    before = {name: (value.dtype, value.clone()) for name, value in adapted.state_dict().items()}
    modes = [module.training for module in adapted.modules()]
    padding, state = tokenizer.pad_token, (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
    assert padding is None
    settings: dict[str, Any] = {"folder": folder, "execute": lambda *_: "failed", "new_tokens": 16}
    frame = evaluate(adapted, tokenizer, ["hpo_terms", "humaneval"], **settings)
    again = evaluate(adapted, tokenizer, ["hpo_terms", "humaneval"], **settings)
    pd.testing.assert_frame_equal(frame, again, check_exact=True)
    after = adapted.state_dict()
    assert {str(dtype) for dtype, _ in before.values()} == {"torch.bfloat16", "torch.float32"}
    assert all(after[name].dtype is dtype and after[name].equal(value) for name, (dtype, value) in before.items())
    assert [module.training for module in adapted.modules()] == modes and any(modes) and not all(modes)
    assert tokenizer.pad_token == padding
    assert torch.get_rng_state().equal(state[0]) and random.getstate() == state[1]
    assert (np.random.get_state()[1] == state[2]).all()
    assert capfd.readouterr() == ("", "")
    adapted.eval()
    question = questions(1)[0]
    expected = directly(adapted, tokenizer, question["question"], " " + question["choices"][0])
    adapted.train()
    assert frame["logprob"][0] == pytest.approx(expected, rel=0.02)  # bf16


def test_programs_are_the_stripped_prompt_and_the_response_and_only_the_executor_judges_them(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    ran: dict[str, tuple[str, str, str]] = {}

    def execute(program: str, entry_point: str, test: str, prompt: str) -> str:
        ran[entry_point] = (program, test, prompt)
        return ["passed", "failed", "timed out"][int(entry_point[1:]) % 3]

    frame = evaluate(model, tokenizer, ["humaneval"], folder=folder, execute=execute, new_tokens=8)
    assert list(frame["status"]) == ["passed", "failed", "timed out", "passed", "failed"]
    assert list(frame["right"]) == [True, False, False, True, False]
    for problem, row in zip(PROBLEMS, frame.itertuples(), strict=True):
        prompt = problem["prompt"].rstrip()
        answer = "\n" + problem["canonical_solution"].rstrip()
        assert ran[problem["entry_point"]] == (prompt + str(row.response), problem["test"], problem["prompt"])
        assert row.item == problem["task_id"] and row.length == len(answer)
        assert row.logprob == pytest.approx(directly(model, tokenizer, prompt, answer), abs=1e-4)
    short = evaluate(model, tokenizer, ["humaneval"], folder=folder, execute=execute, new_tokens=2, batch=1)
    for longer, beginning in zip(frame["response"], short["response"], strict=True):
        assert longer.startswith(beginning.rstrip("\N{REPLACEMENT CHARACTER}")) and len(longer) > len(beginning)
    assert frame["chosen"].isna().all() and frame["margin"].isna().all() and frame["right_norm"].isna().all()
    unjudged = evaluate(model, tokenizer, ["humaneval"], folder=folder)
    assert (unjudged["status"] == "not run").all() and unjudged["right"].isna().all()
    assert (unjudged["response"] == "").all() and unjudged["logprob"].equals(frame["logprob"])
    with pytest.raises(ValueError, match="one of passed, failed, timed out, not 'maybe'"):
        evaluate(model, tokenizer, ["humaneval"], folder=folder, execute=lambda *_: "maybe", new_tokens=2)


def test_with_a_chat_template_the_answer_follows_the_assistants_mark_at_once(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", TEMPLATE)
    frame = evaluate(model, tokenizer, ["hpo_terms", "humaneval"], folder=folder, chat=True)
    question = questions(1)[0]
    right = question["choices"][question["answer"]]
    expected = directly(model, tokenizer, f"<user>{question['question']}\n<assistant>", right)
    assert frame["logprob"][0] == pytest.approx(expected, abs=1e-4) and frame["length"][0] == len(right)
    plain = evaluate(model, tokenizer, ["humaneval"], folder=folder)["logprob"].tolist()
    assert frame["logprob"][-5:].tolist() == plain


def medqa(n: int) -> dict[str, Any]:
    endings = {f"ending{k}": f"drug {n + k}" for k in range(4)}
    return {"id": f"test-{n:05}", "sent1": f"Case {n}. Which?", "sent2": "", "label": n % 4, **endings}


@pytest.mark.ci
def test_lm_evals_own_tasks_read_local_files_in_the_hubs_schema(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mmlu = [
        {"question": f"What is {n}?", "subject": name, "choices": ["1", "2", "3", str(n)], "answer": 3}
        for name in subjects()
        for n in (1, 1)
    ]
    hellaswag = [
        {
            "ind": n,
            "activity_label": "Cooking",
            "ctx_a": "A man stands.",
            "ctx_b": "he",
            "ctx": "A man stands. he",
            "endings": [f"cuts {k} onions [title] now." for k in range(4)],
            "label": str(n % 4),
        }
        for n in range(3)
    ]
    asked = {"medqa_4options": [medqa(n) for n in range(5)], "mmlu": mmlu, "hellaswag": hellaswag}
    for name, rows in asked.items():
        write(tmp_path / f"{name}.jsonl", rows)
    frame = evaluate(model, tokenizer, list(asked), folder=tmp_path)
    assert capfd.readouterr() == ("", "")
    assert frame.groupby("benchmark").size().to_dict() == {"medqa_4options": 5, "mmlu": len(mmlu), "hellaswag": 3}
    assert frame["item"].is_unique and frame["right"].notna().all()
    health = frame[frame["benchmark"] == "medqa_4options"]
    assert list(health["item"]) == [f"test-{n:05}" for n in range(5)]
    prompt = "Question: Case 1. Which?\nA. drug 1\nB. drug 2\nC. drug 3\nD. drug 4\nAnswer:"
    assert health["logprob"].iloc[1] == pytest.approx(directly(model, tokenizer, prompt, " B"), abs=1e-4)
    algebra = frame[frame["item"].str.startswith("mmlu_abstract_algebra/")]["item"]
    assert algebra.iloc[1] == algebra.iloc[0] + "#2"
    ending = "Cooking: A man stands. He", " cuts 0 onions. now."
    assert frame["logprob"].iloc[-3] == pytest.approx(directly(model, tokenizer, *ending), abs=1e-4)


def subjects() -> list[str]:
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent / "mmlu/default"
    return sorted(path.stem.removeprefix("mmlu_") for path in folder.glob("mmlu_*.yaml"))


def test_chembench_asks_for_a_letter(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rows = [
        {"question": f"Which is number {n}?", "A": "H", "B": "He", "C": "Li", "D": "Be", "answer": "ABCD"[n % 4]}
        for n in range(4)
    ]
    write(tmp_path / "chembench4k.jsonl", [{**row, "subject": "Name_Conversion"} for row in rows])
    frame = evaluate(model, tokenizer, ["chembench4k"], folder=tmp_path)
    prompt = "Question: Which is number 2?\nA. H\nB. He\nC. Li\nD. Be\nAnswer:"
    assert frame["logprob"][2] == pytest.approx(directly(model, tokenizer, prompt, " C"), abs=1e-4)
    assert frame["item"].str.fullmatch(r"Name_Conversion/[0-9a-f]{16}").all()
    write(tmp_path / "bare/chembench4k.jsonl", rows)
    bare = evaluate(model, tokenizer, ["chembench4k"], folder=tmp_path / "bare")
    assert bare["logprob"].equals(frame["logprob"])


def test_on_the_hub_the_subjects_are_files_and_the_problems_a_split(tmp_path: Path) -> None:
    row = {"question": "Which?", "A": "H", "B": "He", "C": "Li", "D": "Be", "answer": "A"}
    for subject in ("Name_Conversion", "Retrosynthesis"):
        (tmp_path / "chemistry/test").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"chemistry/test/{subject}_benchmark.json").write_text(json.dumps([row, row]))
    settings = yaml.safe_load((TASKS / "chembench4k.yaml").read_text().replace("!function", ""))["dataset_kwargs"]
    assert len(settings["subjects"]) == 9
    settings |= {"hub": str(tmp_path / "chemistry"), "subjects": ["Retrosynthesis", "Name_Conversion"]}
    rows = local.chembench(**settings)["test"]
    assert rows["subject"] == ["Retrosynthesis"] * 2 + ["Name_Conversion"] * 2 and rows[0] == row | {
        "subject": "Retrosynthesis"
    }
    write(tmp_path / "problems/test.jsonl", PROBLEMS)
    assert list(local.questions(file="humaneval.jsonl", hub=str(tmp_path / "problems"))["test"]) == PROBLEMS


@pytest.mark.parametrize("benchmark", MADE_HERE)
def test_every_benchmark_made_here_is_a_task(
    benchmark: str, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    write(tmp_path / f"{benchmark}.jsonl", questions(2))
    frame = evaluate(model, tokenizer, [benchmark], folder=tmp_path)
    assert list(frame["benchmark"]) == [benchmark] * 2 and list(frame["item"]) == ["q0", "q1"]
    assert (TASKS / f"{benchmark}.yaml").exists()
    with pytest.raises(ValueError, match=rf"^{benchmark}: say in which folder {benchmark}.jsonl lies, as with"):
        local.questions(file=f"{benchmark}.jsonl", version=1.0)


@pytest.mark.parametrize(
    ("benchmarks", "options", "message"),
    [
        (["elements"], {}, r"elements: there is no /\S+/elements.jsonl$"),
        (["elements"], {"hub": True}, r"elements: there is no /\S+/elements.jsonl$"),
        (["mmlu"], {}, r"mmlu: there is no /\S+/mmlu.jsonl, and the hub is not to be read \(hub=True allows it\)"),
        (["hpo_terms"], {"batch": 0}, "1 or more"),
        (["humaneval"], {"execute": lambda *_: "failed"}, r"takes 5\d\d tokens, but the model's context holds 256"),
    ],
)
def test_what_cannot_be_run_says_why_in_a_line(
    benchmarks: list[str],
    options: dict[str, Any],
    message: str,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(model, tokenizer, benchmarks, **({"folder": folder} | options))


def test_a_question_that_does_not_fit_is_not_cut(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    long = {**questions(1)[0], "question": "every market " * 300}
    write(tmp_path / "hpo_terms.jsonl", [*questions(2), long])
    with pytest.raises(ValueError, match=r"a question takes \d+ tokens, but the model's context holds 256"):
        evaluate(model, tokenizer, ["hpo_terms"], folder=tmp_path)


@pytest.mark.ci
def test_lm_evals_command_line_runs_the_same_tasks(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "model"
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    command = [
        *(sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={saved},dtype=float32"),
        *("--include_path", str(TASKS), "--tasks", "hpo_terms,repro_humaneval_solution", "--device", "cpu"),
        *("--metadata", json.dumps({"folder": str(folder)}), "--output_path", str(tmp_path / "out")),
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path)
    (written,) = (tmp_path / "out").rglob("results_*.json")
    results = json.loads(written.read_text())["results"]
    frame = evaluate(model, tokenizer, ["hpo_terms", "humaneval"], folder=folder)
    by_benchmark = frame.groupby("benchmark")[["right", "right_norm", "logprob"]].mean()
    assert results["hpo_terms"]["acc,none"] == pytest.approx(by_benchmark["right"]["hpo_terms"])
    assert results["hpo_terms"]["acc_norm,none"] == pytest.approx(by_benchmark["right_norm"]["hpo_terms"])
    logprob = results["repro_humaneval_solution"]["logprob,none"]
    assert logprob == pytest.approx(by_benchmark["logprob"]["humaneval"], abs=1e-3)
