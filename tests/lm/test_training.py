"""The one training loop, on a real (very small) model: exact to the bit, whatever interrupts it."""

import json
import math
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from transformers import LlamaForCausalLM

from repro.lm.models import Shape, new_model
from repro.lm.sequences import Batch, Batches, Stream
from repro.lm.training import (
    Checkpoint,
    Damaged,
    Diverged,
    Optimiser,
    State,
    read_state,
    sequence_losses,
    train,
    write_state,
)

VOCABULARY, LENGTH, STEPS = 64, 16, 12
CONSTANT = Optimiser(peak=1e-2, steps=STEPS, warmup=2)
COSINE = Optimiser(peak=1e-2, steps=STEPS, warmup=2, floor=0.1)


def tokens(seed: int = 0) -> np.ndarray:
    """A text in which the next token is mostly the last one plus one, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    return (np.cumsum(rng.choice([1, 1, 1, 7], 5000)) % VOCABULARY).astype(np.uint16)


BATCHES = Batches(Stream(tokens(), LENGTH, 0), 8)
EPOCHS = Batches(Stream(tokens()[: 48 * LENGTH + 1], LENGTH, 0), 8)  # the first epoch ends with the sixth step
HELD_OUT = Batches(Stream(tokens(1), LENGTH, 0), 16)(0).tokens


def tiny(seed: int = 0) -> LlamaForCausalLM:
    return new_model(Shape(hidden=16, intermediate=48, layers=2, heads=2), VOCABULARY, LENGTH, seed)


def losses_of(model: Any) -> dict[str, Any]:
    return {"held out": sequence_losses(model, HELD_OUT, batch=5, dtype=torch.float32)}


def fit(model: LlamaForCausalLM, folder: Path, **options: Any) -> list[dict[str, Any]]:
    options = {
        "optimiser": CONSTANT,
        "seconds": 1e9,
        "measure_at": range(0, STEPS + 1, 3),
    } | options
    return train(
        model,
        options.pop("batches", BATCHES),
        measure=options.pop("measure", losses_of),
        checkpoint=Checkpoint(
            folder=folder,
            seconds=options.pop("seconds"),
            start=options.pop("start", None),
            final=options.pop("final", None),
        ),
        **options,
    ).measured


def same_weights(one: LlamaForCausalLM, other: LlamaForCausalLM) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_run_again_gives_the_same_bits(tmp_path: Path, precision: str) -> None:
    models = tiny(), tiny()
    optimiser = replace(CONSTANT, precision=precision)
    first, second = (fit(m, tmp_path / str(n), optimiser=optimiser) for n, m in enumerate(models))
    assert first == second
    assert same_weights(*models)
    assert not same_weights(models[0], tiny())
    assert np.mean(first[-1]["held out"]) < np.mean(first[0]["held out"]) - 0.1  # and it learns


def test_another_seed_is_another_model() -> None:
    assert same_weights(tiny(), tiny())
    assert not same_weights(tiny(), tiny(1))


def test_a_last_step_that_diverges_is_no_result(tmp_path: Path) -> None:
    """No loss is ever seen of it."""
    leap = Optimiser(peak=1e39, steps=1, warmup=0)
    with pytest.raises(Diverged, match=r"^.*weight is (nan|-?inf) after 1 steps$"):
        fit(tiny(), tmp_path, optimiser=leap, measure_at=[])


def test_the_first_measurement_is_of_the_untouched_model(tmp_path: Path) -> None:
    before = losses_of(tiny())
    measured = fit(tiny(), tmp_path)
    assert measured[0] == {"step": 0, "training_loss": None} | before
    assert [point["step"] for point in measured] == [0, 3, 6, 9, 12]
    assert np.mean(before["held out"]) == pytest.approx(math.log(VOCABULARY), abs=0.1)  # it knows nothing yet


def test_measuring_changes_nothing(tmp_path: Path) -> None:
    often, once = tiny(), tiny()
    fit(often, tmp_path / "often", measure_at=range(STEPS + 1))
    fit(once, tmp_path / "once", measure_at=[STEPS])
    assert same_weights(often, once)


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path, micro_batch: int) -> None:
    whole, parts = tiny(), tiny()
    expected = fit(whole, tmp_path / "whole")
    found = fit(parts, tmp_path / "parts", micro_batch=micro_batch)
    for one, other in zip(expected, found, strict=True):
        assert other["held out"] == pytest.approx(one["held out"], abs=1e-4)
    assert found[-1]["training_loss"] == pytest.approx(expected[-1]["training_loss"], abs=1e-4)


class Interrupted(Exception):
    """What stops the tests' training."""


def interrupted_after(steps: int, batches: Callable[[int], Batch]) -> Callable[[int], Batch]:
    """`batches`, until `steps` steps are done: the next one is never begun."""

    def until(step: int) -> Batch:
        if step == steps:
            raise Interrupted
        return batches(step)

    return until


def interrupted_within(step: int, model: LlamaForCausalLM) -> Callable[[int], Batch]:
    """`EPOCHS`, for a `model` that is stopped once the first rows of step `step` have given their gradients."""
    passes = math.inf

    def batches(number: int) -> Batch:
        nonlocal passes
        passes = 1 if number == step else math.inf
        return EPOCHS(number)

    def count(*_: Any) -> None:
        nonlocal passes
        if passes == 0:
            assert any(p.grad is not None and p.grad.any() for p in model.parameters())
            raise Interrupted
        passes -= 1

    model.register_forward_pre_hook(count)
    return batches


@pytest.mark.parametrize("optimiser", [CONSTANT, COSINE], ids=["constant", "cosine"])
@pytest.mark.parametrize("step", [0, 1, 6, STEPS - 1])
def test_a_run_stopped_between_the_parts_of_a_step_ends_as_the_uninterrupted_one(
    tmp_path: Path, step: int, optimiser: Optimiser
) -> None:
    """At the first step, the second, the first of a new epoch, the last: weights, optimiser, batches and losses."""
    whole, first, second = tiny(), tiny(), tiny(5 if step else 0)  # what the second starts from does not matter
    options: dict[str, Any] = {"optimiser": optimiser, "micro_batch": 3}
    expected = fit(whole, tmp_path / "whole", batches=EPOCHS, final=tmp_path / "whole.end", **options)
    with pytest.raises(Interrupted):
        fit(first, tmp_path / "part", seconds=0, batches=interrupted_within(step, first), **options)
    taken: list[Batch] = []
    anew = Batches(Stream(tokens()[: 48 * LENGTH + 1], LENGTH, 0), 8)

    def noted(number: int) -> Batch:
        taken.append(anew(number))
        return taken[-1]

    found = fit(second, tmp_path / "part", batches=noted, final=tmp_path / "part.end", **options)
    assert found == expected
    assert same_weights(whole, second)
    assert (tmp_path / "part.end").read_bytes() == (tmp_path / "whole.end").read_bytes()
    assert len(taken) == STEPS - step
    after = [*taken, *(anew(STEPS + n) for n in range(8))]
    assert all(torch.equal(rows.tokens, EPOCHS(step + n).tokens) for n, rows in enumerate(after))


def test_a_run_that_ended_before_it_was_recorded_only_measures(tmp_path: Path) -> None:
    whole, second = tiny(), tiny(5)
    expected = fit(whole, tmp_path, seconds=0)  # its last checkpoint is after its last step
    assert fit(second, tmp_path, batches=interrupted_after(STEPS, BATCHES)) == expected
    assert same_weights(whole, second)


def test_a_torn_checkpoint_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies while it saves leaves the checkpoint before that."""
    first, second, whole = tiny(), tiny(5), tiny()
    expected = fit(whole, tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(first, tmp_path / "part", seconds=0, batches=interrupted_after(4, BATCHES))
    for left in ("state.new", ".tmpA1b2C3"):
        (tmp_path / "part" / left).write_bytes(b"half")
    with safe_open(tmp_path / "part/state.safetensors", "pt") as stored:
        assert json.loads(stored.metadata()["history"])["step"] == 4
    assert fit(second, tmp_path / "part") == expected
    assert [file.name for file in (tmp_path / "part").iterdir()] == ["state.safetensors"]


SMALL = State({"model.w": torch.arange(3.0), "adam.0.step": torch.tensor(4.0)}, {"step": 4, "pending": [0.5]})


def damaged(file: Path) -> Iterator[bytes]:
    """The bytes of `file` with each bit of them flipped in turn, then cut off at every length."""
    whole = file.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    yield from (whole[:length] for length in range(len(whole)))


def test_every_flipped_bit_and_every_truncation_of_a_state_is_found(tmp_path: Path) -> None:
    file = tmp_path / "state"
    write_state(file, SMALL, sealed=True)
    assert read_state(file, sealed=True).history == SMALL.history
    tried = 0
    for content in list(damaged(file)):
        file.write_bytes(content)
        with pytest.raises(Damaged, match=str(file)):
            read_state(file, sealed=True)
        tried += 1
    assert tried > 2000


def test_a_damaged_checkpoint_is_set_aside_and_the_run_begins_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, first, second = tiny(), tiny(), tiny()
    expected = fit(whole, tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(first, tmp_path / "part", seconds=0, batches=interrupted_after(7, BATCHES))
    file = tmp_path / "part/state.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert fit(second, tmp_path / "part") == expected
    assert same_weights(whole, second)
    assert (tmp_path / "part/state.safetensors.corrupt").read_bytes() == content
    (told,) = caplog.messages
    assert str(file) in told


def test_a_damaged_state_to_start_from_is_refused(tmp_path: Path) -> None:
    half = Optimiser(peak=1e-2, steps=6, warmup=2)
    fit(tiny(), tmp_path / "short", optimiser=half, measure_at=[], seconds=0)
    start = tmp_path / "short/state.safetensors"
    content = start.read_bytes()
    for broken in (content[:-1] + bytes([content[-1] ^ 64]), content[:-9], b""):
        start.write_bytes(broken)
        with pytest.raises(Damaged, match=str(start)):
            fit(tiny(), tmp_path / "long", start=start)
        assert start.read_bytes() == broken


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_state_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    write_state(file, SMALL, sealed=True)
    with room_for(10_000), pytest.raises(SafetensorError, match="I/O error"):
        write_state(file, State({"model.w": torch.zeros(10_000)}, {"step": 5}), sealed=True)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert read_state(file, sealed=True).history["step"] == 4


def test_a_shorter_constant_run_is_a_prefix_of_a_longer_one(tmp_path: Path) -> None:
    """What lets one trajectory serve every token budget: bit for bit, not nearly."""
    short, long = tiny(), tiny()
    brief = fit(short, tmp_path / "short", optimiser=Optimiser(peak=1e-2, steps=6, warmup=2), measure_at=[0, 3, 6])
    at_six: list[dict[str, torch.Tensor]] = []

    def snapshot(step: int) -> torch.Tensor:
        if step == 6:
            at_six.append({name: value.clone() for name, value in long.state_dict().items()})
        return BATCHES(step)

    longer = fit(long, tmp_path / "long", batches=snapshot)
    assert longer[:3] == brief
    assert all(torch.equal(value, at_six[0][name]) for name, value in short.state_dict().items())


def test_the_schedule_warms_up_and_then_holds_or_falls() -> None:
    constant = Optimiser(peak=2.0, steps=10, warmup=4)
    assert [constant.rate(step) for step in range(10)] == [0.5, 1.0, 1.5] + [2.0] * 7
    cosine = Optimiser(peak=2.0, steps=10, warmup=2, floor=0.1)
    assert [cosine.rate(step) for step in (0, 1, 2, 6, 10)] == pytest.approx([1.0, 2.0, 2.0, 1.1, 0.2])
    falling = [cosine.rate(step) for step in range(2, 11)]
    assert falling == sorted(falling, reverse=True)
    assert Optimiser(peak=2.0, steps=3, warmup=0).rate(0) == 2.0


def test_norms_are_not_decayed_and_matrices_are() -> None:
    decayed, kept = replace(CONSTANT, weight_decay=0.3).build(tiny()).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2}
    assert {p.ndim for p in kept["params"]} == {1}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(tiny().parameters()))


def spoilt_loss(model: LlamaForCausalLM) -> None:
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)


def spoilt_gradient(model: LlamaForCausalLM) -> None:
    model.lm_head.weight.register_hook(lambda gradient: gradient * math.inf)


@pytest.mark.parametrize("step", [0, 7, STEPS - 1])
@pytest.mark.parametrize(
    ("spoil", "what"),
    [(spoilt_loss, "the training loss is nan"), (spoilt_gradient, "the norm of the gradients is (nan|inf)")],
    ids=["loss", "gradient"],
)
def test_what_is_not_finite_stops_the_run_at_once(
    tmp_path: Path, step: int, spoil: Callable[[LlamaForCausalLM], None], what: str
) -> None:
    model, reported = tiny(), []

    def batches(number: int) -> Batch:
        if number == step:
            spoil(model)
        return BATCHES(number)

    options: dict[str, Any] = {"measure_at": [STEPS], "seconds": 0, "final": tmp_path / "end"}
    with pytest.raises(FloatingPointError, match=rf"{what} at step {step + 1} of 12"):
        fit(model, tmp_path, report=reported.append, batches=batches, **options)
    assert len(reported) == step
    assert [file.name for file in tmp_path.iterdir()] == (["state.safetensors"] if step else [])
    if step:
        saved = read_state(tmp_path / "state.safetensors", sealed=True)
        assert saved.history["step"] == step
        assert all(tensor.isfinite().all() for tensor in saved.tensors.values())


def test_a_measurement_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    losses = iter([1.0, 1.0, math.inf])
    with pytest.raises(Diverged, match=r"the loss on held out is inf after 6 of 12 steps"):
        fit(tiny(), tmp_path, measure=lambda _model: {"held out": [2.0, next(losses)]}, final=tmp_path / "end")
    assert not (tmp_path / "end").exists()


def test_losses_are_the_models_own(tmp_path: Path) -> None:
    model = tiny()
    rows = HELD_OUT[:3]
    with torch.no_grad():
        own = [float(model(input_ids=row[None, :-1], shift_labels=row[None, 1:], labels=row).loss) for row in rows]
    assert sequence_losses(model, rows, batch=2, dtype=torch.float32) == pytest.approx(own, abs=1e-5)
    assert model.training
