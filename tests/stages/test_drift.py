"""Drift as stages: none between a model and itself, and on the data that changed between neighbours and no other."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.texts import folder_source, prose
from helpers.training import MadePairs, small_pretrain
from repro.data.corpora import TRAINING
from repro.lm.cka import drifts, states
from repro.lm.sequences import Permutation
from repro.runs import Machine, Stage, Store, Work, run
from repro.stages.evaluate import CATEGORIES, DRIFT, FIXED, Drift, RatioDrift, load, padded, spread, thinned
from repro.stages.lora import Cpt, LoraTraining, Sft
from repro.stages.texts import PairTokens, Tokens, encoded_pairs, tokens_of
from repro.stages.training import Pretrain

CPU = Machine()
LORA = LoraTraining(rank=4, alpha=8, peak=1e-2, warmup=1, batch=2, weight_decay=0.1, clip=1.0, precision="fp32")
LENGTH = 16
NEW_CPT, OLD_CPT, NEW_SFT, OLD_SFT = CATEGORIES


def made_pairs(name: str, seed: int) -> MadePairs:
    """Pairs of different lengths."""
    text = " ".join(prose(2, seed=seed))
    return MadePairs(name=name, pairs=tuple((text[n : n + 9 + n], text[60 : 65 + n]) for n in range(12)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pretrain:
    return small_pretrain(tmp_path_factory.mktemp("prose"), 30, layers=3, tokens=128, warmup=1)


@pytest.fixture(scope="module")
def other(base: Pretrain, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """A domain's text, other than what is replayed."""
    source = folder_source(tmp_path_factory.mktemp("domain"), prose(30, seed=9))
    text = replace(base.tokens.text, name="domain", sources=(source,))
    return Tokens(text=text, tokenizer=base.tokens.tokenizer)


@pytest.fixture(scope="module")
def cpt(base: Pretrain, other: Tokens) -> Callable[[int], Cpt]:
    """CPT of so many steps of two sequences, every fourth sequence replayed text."""

    def make(steps: int) -> Cpt:
        return Cpt(
            base=base, domain=other, replay=base.tokens, replay_share=Fraction(1, 4), training=LORA, length=LENGTH,
            tokens=steps * 2 * LENGTH, seed=7,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def pairs(base: Pretrain) -> tuple[PairTokens, PairTokens]:
    domain, replay = (
        PairTokens(material=made, tokenizer=base.tokens.tokenizer, chat=False, longest=64)  # type: ignore[arg-type]
        for made in (made_pairs("pairs", seed=1), made_pairs("replay", seed=2))
    )
    return domain, replay


@pytest.fixture(scope="module")
def sft(store: Store, pairs: tuple[PairTokens, PairTokens]) -> Callable[[Cpt | Pretrain, int], Sft]:
    """SFT of so many steps of two pairs, every fourth pair a replayed one, and of the tokens that they take."""
    run(pairs, store, CPU)
    share = Fraction(1, 4)

    def make(start: Cpt | Pretrain, steps: int) -> Sft:
        tokens = sum(len(chosen(store, pairs, number)) for number in range(2 * steps))
        return Sft(
            start=start, pairs=pairs[0], replay=pairs[1], replay_share=share, training=LORA, mode="continue",
            tokens=tokens, seed=7,
        )  # fmt: skip

    return make


def is_domain(number: int) -> bool:
    """Of every four sequences, or pairs, the first is replayed: of k the domain has floor(3k / 4)."""
    return number % 4 != 0


def chosen(store: Store, pairs: tuple[PairTokens, PairTokens], number: int) -> np.ndarray:
    """The pair that comes at a place, by hand: the domain's and the replayed ones each in an order of their own."""
    replayed = number // 4 + (number % 4 > 0)
    stage, place = (pairs[0], number - replayed) if is_domain(number) else (pairs[1], number // 4)
    found = encoded_pairs(store.finished(stage))
    return found[Permutation(len(found), 7)(place)].tokens


def sequence(store: Store, model: Cpt, number: int) -> np.ndarray:
    """The CPT inputs that come at a place, by hand."""
    replayed = number // 4 + (number % 4 > 0)
    stage, place = (model.domain, number - replayed) if is_domain(number) else (model.replay, number // 4)
    tokens = tokens_of(store.finished(stage), TRAINING, stage.dtype)
    start = Permutation((len(tokens) - 1) // LENGTH, 7)(place) * LENGTH
    return tokens[start : start + LENGTH]


def drift_of(store: Store, stage: Stage) -> pd.DataFrame:
    run([stage], store, CPU)
    return pd.read_parquet(store.file(stage, DRIFT))


def ratio(
    earlier: Cpt | Pretrain, later: Cpt, more: Sft, fewer: Sft | None, *, tuned: bool, examples: int = 99
) -> RatioDrift:
    return RatioDrift(
        earlier=earlier, later=later, more=more, fewer=fewer, tuned=tuned, examples=examples, precision="fp32"
    )  # fmt: skip


def measured(store: Store, stage: RatioDrift, tmp_path: Path, sequences: list[np.ndarray]) -> pd.DataFrame:
    """Drift between a stage's models on sequences that were chosen by hand."""
    work = Work(path=tmp_path, inputs=store.finished, machine=CPU, report=lambda _: None)
    ours, theirs = (thinned(states(load(work, model, "fp32"))) for model in stage.models)
    return drifts(ours, theirs, padded(sequences, 8), skip=1)


def test_a_model_has_not_drifted_from_itself(
    store: Store, base: Pretrain, cpt: Callable[..., Cpt], pairs: tuple[PairTokens, PairTokens]
) -> None:
    for model in (base, cpt(2)):
        stage = Drift(first=model, second=model, pairs=pairs[0], seed=7, examples=4, precision="fp32")
        found = drift_of(store, stage)
        assert set(found["estimator"]) == {"plain", "debiased"} and set(found["sample"]) == {FIXED}
        assert found["layer"].tolist() == [0, 1, 2] * 2, "the embeddings are left out"
        assert found["drift"].to_numpy() == pytest.approx(0, abs=1e-6)
        assert found["cka"].to_numpy() == pytest.approx(1, abs=1e-6)


def test_the_fixed_sample_is_the_first_pairs_in_the_seed_s_order(
    store: Store, base: Pretrain, cpt: Callable[..., Cpt], pairs: tuple[PairTokens, PairTokens], tmp_path: Path
) -> None:
    stage = Drift(first=base, second=cpt(3), pairs=pairs[0], seed=5, examples=4, precision="fp32")
    found = drift_of(store, stage)
    every = encoded_pairs(store.finished(pairs[0]))
    sample = [every[Permutation(len(every), 5)(n)].tokens for n in range(4)]
    assert set(found["tokens"]) == {sum(len(one) - 1 for one in sample)}, "all but the first token of each"
    work = Work(path=tmp_path, inputs=store.finished, machine=CPU, report=lambda _: None)
    ours, theirs = (thinned(states(load(work, model, "fp32"))) for model in (base, cpt(3)))
    expected = drifts(ours, theirs, padded(sample, 8), skip=1)
    assert found["drift"].to_numpy() == pytest.approx(expected["drift"].to_numpy(), abs=1e-6)
    assert (found["drift"] > 1e-4).any()


@pytest.mark.parametrize("tuned", [False, True])
def test_categories_hold_the_data_that_changed_and_no_other(
    tuned: bool, store: Store, cpt: Callable[..., Cpt], sft: Callable[..., Sft], pairs: tuple[PairTokens, PairTokens],
    tmp_path: Path,
) -> None:  # fmt: skip
    """CPT of 2 steps against one of 5, and SFT of 4 steps against one of 1: sequences 4 to 9, and pairs 2 to 7."""
    earlier, later = cpt(2), cpt(5)
    stage = ratio(earlier, later, sft(earlier, 4), sft(later, 1), tuned=tuned)
    found = drift_of(store, stage)
    by_hand = {
        NEW_CPT: [sequence(store, later, n) for n in (5, 6, 7, 9)],
        OLD_CPT: [sequence(store, later, n) for n in (4, 8)],
        NEW_SFT: [chosen(store, pairs, n) for n in (2, 3, 5, 6, 7)],
        OLD_SFT: [chosen(store, pairs, n) for n in (4,)],
    }
    assert found["sample"].unique().tolist() == list(CATEGORIES)
    for name, sequences in by_hand.items():
        rows = found[found["sample"] == name]
        assert set(rows["tokens"]) == {sum(len(one) - 1 for one in sequences)}, name
        expected = measured(store, stage, tmp_path, sequences)
        assert rows["estimator"].tolist() == expected["estimator"].tolist()
        assert rows["drift"].to_numpy() == pytest.approx(expected["drift"].to_numpy(), abs=1e-5), name
    assert found["drift"].abs().max() > 1e-4


def test_models_before_and_after_tuning_are_compared_each_with_its_like(
    store: Store, base: Pretrain, cpt: Callable[..., Cpt], sft: Callable[..., Sft]
) -> None:
    later = cpt(2)
    more, fewer = sft(base, 4), sft(later, 1)
    assert ratio(base, later, more, fewer, tuned=False).models == (base, later)
    assert ratio(base, later, more, fewer, tuned=True).models == (more, fewer)
    assert ratio(base, later, more, None, tuned=True).models == (more, later), "nothing is left to tune on"


def test_without_sft_on_one_side_all_pairs_are_removed(
    store: Store, base: Pretrain, cpt: Callable[..., Cpt], sft: Callable[..., Sft], pairs: tuple[PairTokens, PairTokens]
) -> None:
    """And without CPT on the other all its sequences are added."""
    found = drift_of(store, ratio(base, cpt(2), sft(base, 1), None, tuned=False)).drop_duplicates("sample")
    tokens = found.set_index("sample")["tokens"].to_dict()
    assert tokens == {
        NEW_CPT: 3 * (LENGTH - 1), OLD_CPT: LENGTH - 1, NEW_SFT: len(chosen(store, pairs, 1)) - 1,
        OLD_SFT: len(chosen(store, pairs, 0)) - 1,
    }  # fmt: skip


def test_a_category_without_data_has_no_rows(store: Store, cpt: Callable[..., Cpt], sft: Callable[..., Sft]) -> None:
    one, two = cpt(2), cpt(3)
    same_cpt = drift_of(store, ratio(two, two, sft(two, 4), sft(two, 2), tuned=False))
    assert set(same_cpt["sample"]) == {NEW_SFT, OLD_SFT}
    same_sft = drift_of(store, ratio(one, two, sft(one, 2), sft(two, 2), tuned=False))
    assert set(same_sft["sample"]) == {NEW_CPT, OLD_CPT}
    without_replay = replace(sft(one, 2), replay_share=Fraction(0), tokens=150)
    all_domain = [replace(stage, replay_share=Fraction(0)) for stage in (one, two)]
    plain = drift_of(store, ratio(*all_domain, without_replay, None, tuned=False))  # type: ignore[arg-type]
    assert set(plain["sample"]) == {NEW_CPT, NEW_SFT}


def test_no_data_at_all_is_a_frame_without_rows(store: Store, cpt: Callable[..., Cpt], sft: Callable[..., Sft]) -> None:
    same = cpt(2)
    found = drift_of(store, ratio(same, same, sft(same, 2), sft(same, 2), tuned=False))
    assert found.empty
    assert set(found) == {"sample", "layer", "tokens", "estimator", "cka", "drift"}


def test_examples_are_spread_over_what_changed(store: Store, cpt: Callable[..., Cpt], sft: Callable[..., Sft]) -> None:
    earlier, later = cpt(2), cpt(5)
    stage = ratio(earlier, later, sft(earlier, 4), sft(later, 1), tuned=False, examples=2)
    found = drift_of(store, stage)
    tokens = found.drop_duplicates("sample").set_index("sample")["tokens"]
    assert tokens[NEW_CPT] == tokens[OLD_CPT] == 2 * (LENGTH - 1)
    assert spread([5, 6, 7, 9], 2) == [5, 7]
    assert spread([5, 6, 7, 9], 4) == spread([5, 6, 7, 9], 9) == [5, 6, 7, 9]
    assert spread([], 3) == []
    assert spread(range(10, 110), 10) == list(range(10, 110, 10))
    many = spread(range(1000), 7)
    assert len(set(many)) == 7 and many == sorted(many) and many[0] == 0 and many[-1] >= 1000 - 1000 / 7 - 1


def test_at_most_eight_layers_are_compared_with_the_last_among_them() -> None:
    def run(count: int) -> list[int]:
        return list(thinned(lambda _: list(range(count + 1)))(None))

    assert run(3) == [1, 2, 3]
    assert run(8) == list(range(1, 9))
    found = run(30)
    assert len(found) == 8 and found[0] == 1 and found[-1] == 30
    assert max(np.diff(found)) - min(np.diff(found)) <= 1


def test_batches_are_padded_on_the_right_and_the_mask_says_where() -> None:
    rows = [np.arange(1, n + 1) for n in (3, 5, 1, 4, 2, 2, 2, 2, 6)]
    first, second = padded(rows, 8)
    assert first["input_ids"].shape == (8, 5) and second["input_ids"].shape == (1, 6)
    assert first["input_ids"][0].tolist() == [1, 2, 3, 0, 0]
    assert first["attention_mask"].sum(1).tolist() == [3, 5, 1, 4, 2, 2, 2, 2]
    assert ((first["input_ids"] > 0) == first["attention_mask"].bool()).all()


def test_what_was_compared_decides_the_key(
    base: Pretrain, cpt: Callable[..., Cpt], sft: Callable[..., Sft], pairs: tuple[PairTokens, PairTokens]
) -> None:
    later = cpt(2)
    one = Drift(first=base, second=later, pairs=pairs[0], seed=7, examples=4, precision="fp32")
    two = ratio(base, later, sft(base, 2), sft(later, 1), tuned=True)
    stages: list[Stage] = [one, replace(one, second=cpt(3)), replace(one, examples=5), replace(one, seed=8)]
    stages += [two, replace(two, tuned=False), replace(two, fewer=None), replace(two, examples=3)]
    keys = [stage.key for stage in stages]
    assert len(set(keys)) == len(keys)
