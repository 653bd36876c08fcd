"""LoRA pretraining and tuning: shared beginnings are bit-equal, adapters are PEFT's, every mode loads again."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from helpers.texts import prose
from helpers.training import MadePairs, small_pretrain
from repro.lm import training
from repro.runs import Machine, Store, Work, run
from repro.stages.evaluate import Adapted, load
from repro.stages.lora import PROGRESS, STATE, Cpt, LoraTraining, Sft, read_progress
from repro.stages.texts import PairTokens
from repro.stages.training import Pretrain

CPU = Machine()
LORA = LoraTraining(rank=4, alpha=8, peak=3e-3, warmup=2, batch=2, weight_decay=0.1, clip=1.0, precision="fp32")


def made_pairs(name: str, seed: int) -> MadePairs:
    texts = prose(24, sentences=1, seed=seed)
    return MadePairs(name=name, pairs=tuple((f"{text[:20]}\nAnswer:", f" {text[20:35]}") for text in texts))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pretrain:
    return small_pretrain(tmp_path_factory.mktemp("prose"), 60)


@pytest.fixture(scope="module")
def cpt(base: Pretrain) -> Callable[..., Cpt]:
    def make(steps: int, after: Cpt | None = None) -> Cpt:
        return Cpt(
            base=base, domain=base.tokens, replay=base.tokens, replay_share=Fraction(1, 4), training=LORA,
            length=16, tokens=steps * 32, seed=0, after=after,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def sft(base: Pretrain) -> Callable[..., Sft]:
    made = made_pairs("pairs", seed=1), made_pairs("replay", seed=2)
    pairs, replay = (
        PairTokens(material=one, tokenizer=base.tokens.tokenizer, chat=False, longest=64)  # type: ignore[arg-type]
        for one in made
    )

    def make(start: Adapted, tokens: int, mode: str = "continue", after: Sft | None = None) -> Sft:
        return Sft(
            start=start, pairs=pairs, replay=replay, replay_share=Fraction(1, 4), training=LORA, mode=mode,
            tokens=tokens, seed=0, after=after,
        )  # fmt: skip

    return make


def work(store: Store, path: Path) -> Work:
    return Work(path=path, inputs=store.finished, machine=CPU, report=lambda _done: None)


def same(first: Path, second: Path) -> None:
    for name in (STATE, "adapter_model.safetensors"):
        one, two = load_file(first / name), load_file(second / name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name
    assert (first / PROGRESS).read_bytes() == (second / PROGRESS).read_bytes()


def test_a_branch_of_cpt_is_bit_equal_to_a_straight_run(store: Store, tmp_path: Path, cpt: Callable[..., Cpt]) -> None:
    short = cpt(5)
    branch, straight = cpt(9, after=cpt(7, after=short)), cpt(9)
    assert branch.key == straight.key
    assert (branch.new_tokens, straight.new_tokens) == (64, 288)
    alone = Store(tmp_path)
    run([branch], store, CPU)
    run([straight], alone, CPU)
    same(store.path(branch), alone.path(straight))
    assert store.has(short)
    assert not alone.has(short)
    assert read_progress(alone.path(straight) / PROGRESS)["steps"] == 9


def test_a_branch_of_sft_is_bit_equal_to_a_straight_run(
    store: Store, tmp_path: Path, cpt: Callable[..., Cpt], sft: Callable[..., Sft]
) -> None:
    start = cpt(5)
    branch, straight = sft(start, 900, after=sft(start, 300)), sft(start, 900)
    assert branch.key == straight.key
    alone = Store(tmp_path)
    run([branch], store, CPU)
    run([straight], alone, CPU)
    same(store.path(branch), alone.path(straight))
    told = read_progress(store.path(branch) / PROGRESS)
    assert 0 < told["tokens"] <= 900
    assert len(told["losses"]) == told["steps"]


def test_an_interrupted_run_ends_bit_equal(store: Store, tmp_path: Path, cpt: Callable[..., Cpt]) -> None:
    whole, cut = cpt(9), Store(tmp_path)
    run([whole], store, CPU)

    def interrupt(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    run([whole.base, whole.domain], cut, CPU)
    often = Machine(checkpoint_seconds=1e-9)
    with pytest.raises(KeyboardInterrupt):
        cut.build(whole, often, interrupt)
    cut.build(whole, CPU, lambda _done: None)
    same(store.path(whole), cut.path(whole))


def test_a_run_that_diverges_is_never_recorded_as_done(
    store: Store, tmp_path: Path, cpt: Callable[..., Cpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut, real, passes = cpt(9), Store(tmp_path), training.token_losses, iter(range(9))
    run([whole], store, CPU)
    run([whole.base, whole.domain], cut, CPU)
    often = Machine(checkpoint_seconds=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(training, "token_losses", lambda *given: real(*given) * (math.nan if next(passes) == 6 else 1))
        with pytest.raises(training.Diverged, match="the training loss is nan at step 7 of 9"):
            cut.build(whole, often, lambda _done: None)
    assert not cut.has(whole)
    assert cut.status(whole) == "diverged"
    cut.build(whole, CPU, lambda _done: None)  # what was saved before is sound
    same(store.path(whole), cut.path(whole))


@pytest.mark.parametrize("mode", ["continue", "merge", "second"])
def test_every_mode_trains_and_loads_again(
    mode: str, store: Store, tmp_path: Path, base: Pretrain, cpt: Callable[..., Cpt], sft: Callable[..., Sft]
) -> None:
    start = cpt(5)
    tuned = sft(start, 2400, mode)
    run([tuned], store, CPU)
    told = read_progress(store.path(tuned) / PROGRESS)
    assert sum(told["losses"][-3:]) < sum(told["losses"][:3])
    job = work(store, tmp_path)
    tokens = torch.arange(3, 23)[None]
    outputs = []
    for model in (base, start, tuned):
        with torch.no_grad():
            outputs.append(load(job, model, "fp32")(input_ids=tokens).logits)
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])
    adapter = load_file(store.path(tuned) / "adapter_model.safetensors")
    assert all("lora_" in name for name in adapter)


def test_tuning_without_cpt_starts_from_the_base(store: Store, base: Pretrain, sft: Callable[..., Sft]) -> None:
    tuned = sft(base, 300)
    run([tuned], store, CPU)
    assert tuned.label.endswith("without CPT")
    assert store.has(tuned)


def test_an_adapter_is_peft_s_and_says_nothing_of_this_machine(
    store: Store, base: Pretrain, cpt: Callable[..., Cpt]
) -> None:
    stage = cpt(5)
    run([stage], store, CPU)
    folder = store.path(stage)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"own-{base.size}"
    assert str(store.root) not in (folder / "adapter_config.json").read_text()
    assert not (folder / "README.md").exists()
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(store.path(base)), str(folder))
    ours = load(work(store, folder), stage, "fp32")
    tokens = torch.arange(3, 23)[None]
    with torch.no_grad():
        assert torch.equal(model.eval()(input_ids=tokens).logits, ours(input_ids=tokens).logits)


def test_too_few_tokens_for_a_step_are_an_error(store: Store, base: Pretrain, sft: Callable[..., Sft]) -> None:
    from repro.runs.engine import StudyFailed

    with pytest.raises(StudyFailed, match=r"3 SFT tokens are not enough for one step, which takes [0-9]+"):
        run([sft(base, 3)], store, CPU)


def test_what_decides_the_result_is_in_the_key(cpt: Callable[..., Cpt], sft: Callable[..., Sft]) -> None:
    start = cpt(5)
    stages = [start, cpt(6), replace(start, seed=1), replace(start, replay_share=Fraction(1, 2))]
    stages += [replace(start, training=replace(LORA, rank=8)), replace(start, training=replace(LORA, precision="bf16"))]
    tuned = sft(start, 300)
    others = [tuned, sft(start, 300, "merge"), sft(cpt(6), 300)]
    others += [replace(tuned, pairs=replace(tuned.pairs, **one)) for one in ({"chat": True}, {"longest": 32})]
    keys = [stage.key for stage in (*stages, *others)]
    assert len(set(keys)) == len(keys)
