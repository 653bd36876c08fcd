"""Linear CKA: exact however the tokens are split, right where the truth is known, blind to padding."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

from repro.lm.cka import LinearCKA, States, bias_curve, drifts, states
from repro.lm.models import Shape, new_model

RNG = np.random.default_rng(0)


def pair(n: int = 60, p: int = 7, q: int = 5) -> tuple[Any, Any]:
    """Related features with means far from zero and rows of very different norms."""
    x = RNG.standard_normal((n, p)) * RNG.lognormal(0, 1, (n, 1)) + 2
    return x, x[:, :q] + RNG.standard_normal((n, q)) - 3


def measured(x: Any, y: Any, cuts: Sequence[int] = ()) -> LinearCKA:
    layer = LinearCKA()
    for start, end in zip((0, *cuts), (*cuts, len(x)), strict=True):
        layer.update(x[start:end], y[start:end])
    return layer


def by_gram(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased CKA from n x n Gram matrices with their diagonals emptied, as Song et al. (2012) print HSIC."""

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        n, one = len(k), np.ones(len(k))
        k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
        total = np.trace(k @ other) + (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
        return float((total - 2 / (n - 2) * (one @ k @ other @ one)) / (n * (n - 3)))

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / float(np.sqrt(hsic(k, k) * hsic(other, other)))


def plain_by_gram(x: np.ndarray, y: np.ndarray) -> float:
    centre = np.eye(len(x)) - 1 / len(x)
    k, other = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return float((k * other).sum() / np.sqrt((k * k).sum() * (other * other).sum()))


@pytest.mark.parametrize("n", [4, 5, 12, 60])
def test_sums_of_features_equal_gram_matrices(n: int) -> None:
    x, y = pair(n)
    layer = measured(x, y)
    assert layer.cka() == pytest.approx(by_gram(x, y), abs=1e-9)
    assert layer.cka("plain") == pytest.approx(plain_by_gram(x, y), abs=1e-9)
    assert layer.drift() == 1 - layer.cka()


@pytest.mark.parametrize("cuts", [(1,), (59,), (1, 2, 3), (20, 40), tuple(range(1, 60)), (10, 10, 30)])
def test_any_split_into_batches_gives_the_same(cuts: Sequence[int]) -> None:
    x, y = pair()
    whole, parts = measured(x, y), measured(x, y, cuts)
    assert parts.tokens == whole.tokens == 60
    for estimator in ("debiased", "plain"):
        assert parts.cka(estimator) == pytest.approx(whole.cka(estimator), abs=1e-9)


def test_tensors_of_any_precision_are_summed_in_float64() -> None:
    x, y = pair()
    half = torch.tensor(x, dtype=torch.bfloat16), torch.tensor(y, dtype=torch.bfloat16)
    exact = measured(half[0].double().numpy(), half[1].double().numpy())
    assert measured(*half, cuts=(7, 31)).cka() == pytest.approx(exact.cka(), abs=1e-9)


def test_rotation_shift_and_scale_are_no_drift() -> None:
    x, _ = pair(200, 16)
    rotation, _ = np.linalg.qr(RNG.standard_normal((16, 16)))
    for estimator in ("debiased", "plain"):
        assert measured(x, 3.7 * x @ rotation - 5, (50,)).drift(estimator) == pytest.approx(0, abs=1e-9)
        assert measured(x, x @ RNG.standard_normal((16, 16))).drift(estimator) > 0.01, (
            "any linear map would be too much"
        )


def test_independent_features_drift_by_one_at_every_n_unless_the_estimator_is_plain() -> None:
    curve = bias_curve(width=64, draws=12)
    debiased, plain = (curve[curve["estimator"] == name].set_index("n") for name in ("debiased", "plain"))
    assert list(debiased.index) == [20, 50, 100, 200, 500, 1000, 2000]
    assert (debiased["drift"] - 1).abs().max() < 0.05
    assert ((debiased["low"] < 1) & (debiased["high"] > 1)).all()
    assert plain["drift"].is_monotonic_increasing
    assert plain["drift"][20] < 0.3 and plain["drift"][100] < 0.7 and plain["drift"][2000] > 0.9
    assert (plain["high"] < 0.98).all()


def test_over_all_pairings_debiased_cka_is_zero_on_average() -> None:
    x, y = pair(6)
    values = [measured(x, y[list(order)]).cka() for order in permutations(range(6))]
    assert np.mean(values) == pytest.approx(0, abs=1e-9)


def test_a_large_common_mean_costs_no_digits() -> None:
    x, y = pair()
    assert measured(x + 1e6, y - 1e6, (13,)).cka() == pytest.approx(measured(x, y).cka(), abs=1e-7)


@pytest.mark.parametrize("n", [0, 3])
def test_fewer_than_four_tokens_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"at least 4 tokens, and there are {n}"):
        measured(*pair(n)).cka()


def test_what_does_not_vary_has_no_cka() -> None:
    x, y = pair()
    assert np.isnan(measured(np.full((60, 3), 0.1), y, (7,)).cka())
    assert np.isnan(measured(np.full((60, 3), 0.1), y).cka("plain"))
    alone = np.zeros((60, 3))
    alone[5] = 1000.0
    assert np.isnan(measured(x, alone).cka()), "one token that differs says nothing of pairs of tokens"


def test_wrong_features_are_named() -> None:
    x, y = pair()
    with pytest.raises(ValueError, match=r"\(60, 7\) and \(59, 5\)"):
        LinearCKA().update(x, y[1:])
    layer = measured(x, y)
    with pytest.raises(ValueError, match=r"stay \(7, 5\) wide, not \(5, 7\)"):
        layer.update(y, x)
    with pytest.raises(ValueError, match="not finite"):
        LinearCKA().update(np.where(x > 3, np.nan, x), y)
    with pytest.raises(ValueError, match="estimator must be one of debiased, plain"):
        measured(x, y).cka("biased")  # type: ignore[arg-type]


SHAPE = Shape(hidden=32, intermediate=64, layers=3, heads=2)


def model(seed: int, shape: Shape = SHAPE) -> LlamaForCausalLM:
    return new_model(shape, 50, 32, seed)


def batch(sentences: Sequence[Sequence[int]], *, left: bool = False, length: int = 0) -> dict[str, torch.Tensor]:
    """Padded with tokens that would matter if they were counted."""
    length = length or max(map(len, sentences))
    rows = [([7] * (length - len(line)), [0] * (length - len(line)), list(line), [1] * len(line)) for line in sentences]
    ids = [pad + line if left else line + pad for pad, _, line, _ in rows]
    mask = [zeros + ones if left else ones + zeros for _, zeros, _, ones in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def hidden_state_drift(first: States, second: States, batches: Any, estimator: str = "debiased", skip: int = 0) -> Any:
    """The rows of one estimator."""
    frame = drifts(first, second, batches, skip=skip)
    return frame[frame["estimator"] == estimator].reset_index(drop=True)


SENTENCES = [RNG.integers(1, 50, n).tolist() for n in (9, 4, 12, 1, 6, 8)]


def test_padding_never_matters() -> None:
    first, second = states(model(0)), states(model(1))
    alone = hidden_state_drift(first, second, [batch([words]) for words in SENTENCES])
    assert list(alone["layer"]) == [0, 1, 2, 3]
    assert set(alone["tokens"]) == {sum(map(len, SENTENCES))}
    for batches in (
        [batch(SENTENCES)],
        [batch(SENTENCES, length=30)],
        [batch(SENTENCES[:2], left=True), batch(SENTENCES[2:], left=True, length=20)],
    ):
        padded = hidden_state_drift(first, second, batches)
        np.testing.assert_allclose(padded["drift"], alone["drift"], atol=1e-5)
        assert list(padded["tokens"]) == list(alone["tokens"])


def test_first_tokens_can_be_left_out() -> None:
    first, second = states(model(0)), states(model(1))
    frame = hidden_state_drift(first, second, [batch(SENTENCES)], skip=1)
    assert set(frame["tokens"]) == {sum(map(len, SENTENCES)) - len(SENTENCES)}
    left = hidden_state_drift(first, second, [batch(SENTENCES, left=True)], skip=1)
    np.testing.assert_allclose(left["drift"], frame["drift"], atol=1e-5)
    layer = LinearCKA()
    for sentence in SENTENCES:
        alone = batch([sentence])
        layer.update(first(alone)[2][0, 1:], second(alone)[2][0, 1:])
    assert layer.drift() == pytest.approx(frame["drift"][2], abs=1e-5)


def test_a_model_does_not_drift_from_itself_and_models_of_other_widths_compare() -> None:
    batches = [batch(SENTENCES)]
    same = hidden_state_drift(states(model(0)), states(model(0)), batches)
    np.testing.assert_allclose(same["drift"], 0, atol=1e-12)
    wide = model(1, Shape(hidden=48, intermediate=64, layers=3, heads=2))
    for estimator in ("debiased", "plain"):
        other = hidden_state_drift(states(model(0)), states(wide), batches, estimator=estimator)
        assert (other["drift"] > 0.1).all()
        np.testing.assert_allclose(other["cka"], 1 - other["drift"])


def test_a_half_precision_model_runs_as_it_is_and_stays_in_training() -> None:
    half = model(0).bfloat16().train()
    frame = hidden_state_drift(states(model(0)), states(half), [batch(SENTENCES)])
    assert frame["drift"].between(0, 0.01).all()
    assert half.training


def test_models_of_other_depth_and_no_tokens_are_refused() -> None:
    deep = model(1, Shape(hidden=32, intermediate=64, layers=4, heads=2))
    with pytest.raises(ValueError, match="not 4 and 5"):
        hidden_state_drift(states(model(0)), states(deep), [batch(SENTENCES)])
    for batches in ([], [batch([[1, 2, 3]])]):
        with pytest.raises(ValueError, match="at least 4 tokens"):
            hidden_state_drift(states(model(0)), states(model(1)), batches)


def test_an_adapter_is_part_of_its_model() -> None:
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted, batches = get_peft_model(model(0), config), [batch(SENTENCES)]
    same = hidden_state_drift(states(adapted), states(adapted), batches)
    np.testing.assert_allclose(same["drift"], 0, atol=1e-12)
    apart = hidden_state_drift(states(adapted), states(model(0)), batches)
    assert apart["drift"][0] == pytest.approx(0, abs=1e-12), "embeddings have no adapter"
    assert (apart["drift"][1:] > 1e-4).all()
    with adapted.disable_adapter():
        base = hidden_state_drift(states(adapted), states(model(0)), batches)
    np.testing.assert_allclose(base["drift"], 0, atol=1e-9)
