"""D_R: exactly R of it is domain text, from streams that can be entered anywhere."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from repro.lm.sequences import Batches, Mixture, Stream, fixed_sequences

LENGTH = 8
RATIOS = [Fraction(*ratio) for ratio in ((0, 1), (1, 8), (1, 4), (1, 3), (1, 2), (3, 4), (1, 1))]


def stream(start: int, windows: int = 50, seed: int = 0) -> Stream:
    """Tokens counted up from `start`, so that a token tells where it came from."""
    return Stream(np.arange(start, start + windows * LENGTH + 1, dtype=np.uint16), LENGTH, seed)


def mixture(ratio: Fraction, seed: int = 0) -> Mixture:
    return Mixture(general=stream(0, seed=seed), domain=stream(10_000, windows=30, seed=seed), ratio=ratio)


def is_domain(found: Mixture, numbers: range) -> np.ndarray:
    return np.array([found.sequence(number)[0] >= 10_000 for number in numbers])


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_domain_share_is_exact_over_every_window(ratio: Fraction) -> None:
    domain = is_domain(mixture(ratio), range(1000))
    counted = np.concatenate([[0], np.cumsum(domain)])
    for width in (24, 240, 960):  # multiples of every denominator: exactly R, wherever the window lies
        assert set(counted[width:] - counted[:-width]) == {width * ratio}
    for width in (1, 7, 100):
        assert np.abs(counted[width:] - counted[:-width] - float(width * ratio)).max() < 1
    assert [mixture(ratio).domain_sequences(k) for k in range(1001)] == counted.tolist()


def test_a_share_that_is_no_simple_fraction_is_met_too() -> None:
    ratio = Fraction("0.137")
    assert is_domain(mixture(ratio), range(2000)).sum() == 274


@pytest.mark.parametrize("ratio", [Fraction(-1, 8), Fraction(9, 8)])
def test_a_ratio_is_a_share(ratio: Fraction) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mixture(ratio)


def test_an_epoch_covers_every_window_once_in_an_order_of_its_own() -> None:
    found = stream(0, windows=20)
    epochs = [[int(found.sequence(epoch * 20 + k)[0]) for k in range(20)] for epoch in range(3)]
    for starts in epochs:
        assert sorted(starts) == [window * LENGTH for window in range(20)]
    assert len({tuple(starts) for starts in epochs}) == 3
    others = [int(stream(0, windows=20, seed=1).sequence(k)[0]) for k in range(20)]
    assert others != epochs[0]


def test_windows_overlap_by_the_one_token_that_is_only_a_label() -> None:
    found = stream(0, windows=20)
    labels = Counter(int(token) for k in range(20) for token in found.sequence(k)[1:])
    assert labels == dict.fromkeys(range(1, 20 * LENGTH + 1), 1)  # every token but the first is predicted once


def test_both_texts_go_through_their_own_epochs() -> None:
    found = mixture(Fraction(1, 3))
    starts = [int(found.sequence(number)[0]) for number in range(150)]
    domain = [start for start in starts if start >= 10_000]
    assert len(domain) == 50
    assert len(set(domain[:30])) == 30
    assert len(set(starts) - set(domain)) == 50  # 100 general sequences: two epochs of 50


@pytest.mark.parametrize("ratio", RATIOS)
def test_batches_depend_on_nothing_but_their_step(ratio: Fraction) -> None:
    batches = Batches(mixture(ratio), 16)
    in_order = [batches(step).tokens for step in range(12)]
    for step in (11, 3, 0, 7):  # a run that resumes asks a new mixture for its first batch
        assert torch.equal(Batches(mixture(ratio), 16)(step).tokens, in_order[step])
        assert torch.equal(batches(step).tokens, in_order[step])
    assert in_order[0].shape == (16, LENGTH + 1)
    assert in_order[0].dtype == torch.int64
    assert not torch.equal(Batches(mixture(ratio, seed=1), 16)(0).tokens, in_order[0])


def test_a_larger_batch_goes_through_the_same_sequences() -> None:
    small, large = Batches(mixture(Fraction(1, 3)), 4), Batches(mixture(Fraction(1, 3)), 12)
    assert torch.equal(torch.cat([small(step).tokens for step in range(3, 6)]), large(1).tokens)


def test_held_out_sequences_are_always_the_same_and_spread_over_the_text() -> None:
    tokens = np.arange(100 * LENGTH + 1, dtype=np.uint16)
    found = fixed_sequences(tokens, LENGTH, 10)
    assert torch.equal(found, fixed_sequences(tokens, LENGTH, 10))
    assert found[:, 0].tolist() == [k * 10 * LENGTH for k in range(10)]
    assert found.shape == (10, LENGTH + 1)
    assert torch.equal(fixed_sequences(tokens, LENGTH, 100)[:, 1:].flatten(), torch.arange(1, 100 * LENGTH + 1))
    with pytest.raises(ValueError, match="holds 100 sequences of 8, not 101"):
        fixed_sequences(tokens, LENGTH, 101)


def test_text_that_fills_no_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="8 tokens do not fill one sequence of 8"):
        Stream(np.arange(8), LENGTH, 0)
