"""Linear centred kernel alignment (CKA) of two sets of features, a batch at a time; 1 - CKA is drift.

Kornblith et al. 2019 with the unbiased estimator of HSIC of Song et al. 2012 as default. The plain one finds alignment
between unrelated features, the more the fewer tokens there are for each dimension (:func:`bias_curve`). Features are
NumPy arrays, or torch tensors on any device that has float64, without importing torch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import torch

Estimator = Literal["debiased", "plain"]
Sums = dict[tuple[str, ...], Any]

FEWEST = 4  # the unbiased estimator divides by n - 3
# A difference below these shares of what is subtracted is rounding error: features that do not vary have no CKA.
_NO_SPREAD, _NO_HSIC = 1e-24, 1e-12
_PAIRS = (("x", "x"), ("y", "y"), ("x", "y"))
Inputs: TypeAlias = "Mapping[str, torch.Tensor]"
States: TypeAlias = "Callable[[Inputs], Sequence[torch.Tensor]]"


class LinearCKA:
    """The sums that linear CKA needs, of the rows so far: 8 (p^2 + q^2 + p q) bytes for any number of rows. Both
    estimators are functions of them. Sums are of differences from the first batch's means: otherwise features with a
    large mean would lose digits.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._shift: tuple[Any, Any] | None = None
        self._sums: Sums = {}

    def update(self, first: Any, second: Any) -> None:
        """Add rows: ``first`` (n, p) and ``second`` (n, q), row i of both from one token. Raises ValueError if they are
        not matrices of finite values, equally long and as wide as those before.
        """
        if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
            shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
            raise ValueError(f"features must be (n, p) and (n, q) with the same n, not {shapes}")
        if len(first) == 0:
            return
        x, y = _wide(first), _wide(second)
        shift = self._shift or (x.mean(0), y.mean(0))
        widths = tuple(len(mean) for mean in shift)
        if widths != (x.shape[1], y.shape[1]):
            raise ValueError(f"features must stay {widths} wide, not {(x.shape[1], y.shape[1])}")
        sums = _sums_of(x - shift[0], y - shift[1])
        if not all(np.isfinite(float(sums["norms", side])) for side in "xy"):
            raise ValueError("features have values that are not finite")
        for name in self._sums:
            sums[name] += self._sums[name]
        self._shift, self._sums, self.tokens = shift, sums, self.tokens + len(first)

    def cka(self, estimator: Estimator = "debiased") -> float:
        """Linear CKA: 1 for the same features up to rotation and scale; NaN where either side does not vary. The
        debiased estimate may be a little below 0: over all pairings of the sides' rows its mean is exactly 0. Raises
        ValueError with fewer than 4 rows, or an unknown estimator.
        """
        if estimator not in get_args(Estimator):
            raise ValueError(f"estimator must be one of {', '.join(get_args(Estimator))}, not {estimator!r}")
        if self.tokens < FEWEST or self._shift is None:
            raise ValueError(f"CKA needs at least {FEWEST} tokens, and there are {self.tokens}")
        for side, shift in zip("xy", self._shift, strict=True):
            # The spread of the rows is no more than rounding error of their mean.
            if float(_spread(self._sums, self.tokens, side)) <= _NO_SPREAD * self.tokens * float(shift @ shift):
                return float("nan")
        (xx, plain_xx), (yy, plain_yy), (xy, plain_xy) = (_hsic(self._sums, self.tokens, i, j) for i, j in _PAIRS)
        if estimator == "plain":
            return plain_xy / float(np.sqrt(plain_xx) * np.sqrt(plain_yy))
        if xx <= _NO_HSIC * plain_xx or yy <= _NO_HSIC * plain_yy:
            return float("nan")
        return xy / float(np.sqrt(xx) * np.sqrt(yy))

    def drift(self, estimator: Estimator = "debiased") -> float:
        """1 - CKA; raises what :meth:`cka` raises."""
        return 1 - self.cka(estimator)


def _wide(features: Any) -> Any:
    """The features in float64, on the same device."""
    return np.asarray(features, dtype=np.float64) if isinstance(features, np.ndarray) else features.double()


def _sums_of(x: Any, y: Any) -> Sums:
    """Sums over the rows of a batch, of x, y, their squared norms, and the products of these."""
    rows = {"x": x, "y": y}
    norms = {name: (side * side).sum(1) for name, side in rows.items()}
    sums: Sums = {("rows", name): side.sum(0) for name, side in rows.items()}
    sums |= {("norms", name): norm.sum() for name, norm in norms.items()}
    for i, j in _PAIRS:
        sums["rows", i, "rows", j] = rows[i].T @ rows[j]
        sums["norms", i, "norms", j] = norms[i] @ norms[j]
        sums["norms", i, "rows", j] = norms[i] @ rows[j]
        sums["norms", j, "rows", i] = norms[j] @ rows[i]
    return sums


def _spread(sums: Sums, n: int, i: str) -> Any:
    """The sum of the squared norms of the centred rows of one side."""
    mean = sums["rows", i] / n
    return sums["norms", i] - n * (mean @ mean)


def _hsic(sums: Sums, n: int, i: str, j: str) -> tuple[float, float]:
    """HSIC with linear kernels, unbiased and plain, both without the factors of n that CKA cancels. With centred rows
    the unbiased one of Song et al. is |X'Y|^2 - n/(n-2) R + S/((n-1)(n-2)), R the sum over rows of |x|^2 |y|^2 and S
    the product of the sums of |x|^2 and of |y|^2; R is multiplied out into sums of rows not yet centred.
    """
    x, y = sums["rows", i] / n, sums["rows", j] / n
    square_x, square_y = x @ x, y @ y
    cross = sums["rows", i, "rows", j]
    r = sums["norms", i, "norms", j] - 2 * (y @ sums["norms", i, "rows", j]) - 2 * (x @ sums["norms", j, "rows", i])
    r = r + square_y * sums["norms", i] + square_x * sums["norms", j]
    r = r + 4 * (x @ cross @ y) - 3 * n * square_x * square_y
    plain = float(((cross - n * x[:, None] * y[None, :]) ** 2).sum())
    s = float(_spread(sums, n, i) * _spread(sums, n, j))
    return plain - n / (n - 2) * float(r) + s / ((n - 1) * (n - 2)), plain


def bias_curve(
    counts: Sequence[int] = (20, 50, 100, 200, 500, 1000, 2000), *, width: int = 64, draws: int = 20, seed: int = 0
) -> pd.DataFrame:
    """The drift that each estimator gives between n rows of independent Gaussians in ``width`` dimensions, where the
    truth is 1. Columns: n, estimator, drift (mean over the draws), low and high (the ends of their middle 95%).
    """
    rng = np.random.default_rng(seed)
    rows = []
    for n in counts:
        drawn = [LinearCKA() for _ in range(draws)]
        for independent in drawn:
            independent.update(rng.standard_normal((n, width)), rng.standard_normal((n, width)))
        for name in get_args(Estimator):
            values = [independent.drift(name) for independent in drawn]
            low, high = np.quantile(values, [0.025, 0.975])
            rows.append({"n": n, "estimator": name, "drift": np.mean(values), "low": low, "high": high})
    return pd.DataFrame(rows)


def drifts(first: States, second: States, batches: Iterable[Inputs], *, skip: int = 0) -> pd.DataFrame:
    """Drift between the hidden states of two models on the same tokens, for each layer and by both estimators.

    Sums stay where the hidden states are: 24 d^2 bytes for each layer. A model 576 wide with 31 states (SmolLM2-135M)
    needs 0.25 GB, one 4,096 wide with 33 (Mistral-7B) 13.3 GB of GPU memory beside its weights.

    first, second: from a batch to hidden states, one (sequences, length, width) for each layer; see :func:`states`.
    batches: ``input_ids`` and ``attention_mask`` (sequences, length), the mask 0 where there is padding. skip: tokens
    left out at the start of every sequence. In many models the first token's states are far larger than any other's
    (attention sinks: Xiao et al. 2024), and linear CKA is almost that of this token alone; 1 leaves it out.

    Columns are layer (0 is the embeddings), tokens (those counted, without padding), cka, drift (NaN where all states
    of a layer are the same), estimator. Raises ValueError with fewer than 4 tokens, other numbers of layers, or hidden
    states that are not finite.
    """
    layers: list[LinearCKA] = []
    for batch in batches:
        mask = batch["attention_mask"]
        keep = mask.bool() & (mask.cumsum(1) > skip)
        ours, theirs = first(batch), second(batch)
        layers = layers or [LinearCKA() for _ in ours]
        if not len(layers) == len(ours) == len(theirs):
            raise ValueError(f"models must have equally many hidden states, not {len(ours)} and {len(theirs)}")
        for layer, x, y in zip(layers, ours, theirs, strict=True):
            layer.update(x[keep.to(x.device)], y[keep.to(y.device)].to(x.device))
    if not layers:
        raise ValueError(f"CKA needs at least {FEWEST} tokens, and there are 0")
    frames = []
    for estimator in get_args(Estimator):
        cka = [layer.cka(estimator) for layer in layers]
        frame = pd.DataFrame({"layer": range(len(cka)), "tokens": [layer.tokens for layer in layers], "cka": cka})
        frames.append(frame.assign(drift=1 - frame["cka"], estimator=estimator))
    return pd.concat(frames, ignore_index=True)


def states(model: Any) -> States:
    """From a batch to the hidden states of a transformers or PEFT model: embeddings, then every layer. Only the layers
    run, in the model's precision and without dropout. Padding may be on the right, or on the left of models with rotary
    positions. A model in training is in training again after each call.
    """
    import torch

    def run(batch: Inputs) -> "Sequence[torch.Tensor]":
        training = model.training
        model.eval()
        inputs = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
        whole = model.get_base_model() if hasattr(model, "get_base_model") else model
        with torch.no_grad():
            hidden = whole.base_model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
        model.train(training)
        return tuple(hidden)

    return run
