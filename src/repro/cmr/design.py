"""Which runs a set of parameters asks for: the experimental design of paper A as stages."""

from dataclasses import dataclass
from fractions import Fraction

from repro.data.corpora import Split
from repro.data.sources import PackageSource
from repro.lm.models import Shape
from repro.params import Params, ParamsError
from repro.runs.spec import Stage
from repro.stages.texts import Text, Tokenizer, Tokens
from repro.stages.training import Continue, Pretrain, Training
from repro.study.base import BaseDesign, require_packages, sources
from repro.trust.peaks import Peaks, peak_stages
from repro.trust.recovery import Recovery, recoveries

PEAKS_PER_SET = 6  # one study of each shape and number of items for so many studies of critical ratios


@dataclass(frozen=True)
class Design(BaseDesign):
    """The stages of a study: `domains[0]` is that of every size; runs are ordered by size, domain and ratio.

    rates: the smallest size on `domains[0]` once more, at other learning rates.
    """

    general: Tokens
    domains: tuple[Tokens, ...]
    pretraining: tuple[Pretrain, ...]
    continual: tuple[Continue, ...]
    rates: tuple[Continue, ...]
    recovery: tuple[Recovery, ...]
    peaks: tuple[Peaks, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        trained = (*self.domains, *self.pretraining, *self.continual, *self.rates)
        return (self.general, *trained, *self.recovery, *self.peaks)

    def require_data(self) -> None:
        texts = (stage.text for stage in (self.general, *self.domains))
        files = (source for text in texts if isinstance(text, Text) for source in text.sources)
        require_packages(source.package for source in files if isinstance(source, PackageSource))


def design(params: Params) -> Design:
    """The stages `params` ask for. Raises ParamsError if a source does not exist, or models do not grow in size."""
    general_text = Text(
        name="general",
        sources=sources(params.general, "general"),
        split=_split(params, params.validation_share, params.replay_share),
    )
    tokenizer = Tokenizer(text=general_text, vocabulary=params.vocabulary)
    general = Tokens(text=general_text, tokenizer=tokenizer)
    fields = {"domain": params.domain, "second_domain": params.second_domain}
    domains = tuple(
        Tokens(
            text=Text(
                name=domain.name,
                sources=sources(domain.sources, f"{field}.sources"),
                split=_split(params, params.domain_validation_share, Fraction(0)),
                general=general_text,
            ),
            tokenizer=tokenizer,
        )
        for field, domain in fields.items()
    )
    shapes = [
        Shape(hidden=m.hidden, intermediate=m.intermediate, layers=m.layers, heads=m.heads) for m in params.models
    ]
    pretraining = tuple(_pretrain(params, general, shape, seed) for shape in shapes for seed in params.seeds)
    models = pretraining[:: len(params.seeds)]
    labels, counts = [model.size for model in models], [model.parameters for model in models]
    # Sizes name rows, lines and groups of runs, so two models of one label would be taken for one.
    if counts != sorted(counts) or len(set(labels)) < len(labels):
        raise ParamsError(f"models: must grow in size, each with a label of its own, not {', '.join(labels)}")
    smallest = pretraining[: len(params.seeds)]
    continual = [_continue(params, base, domains[0], ratio) for base in pretraining for ratio in params.ratios]
    continual += [_continue(params, base, domains[1], r) for base in smallest for r in params.second_ratios]
    rates = [
        _continue(params, base, domains[0], ratio, multiple)
        for multiple in params.learning_rates
        for base in smallest
        for ratio in params.ratios
    ]
    recovery = recoveries(params.recovery_sets, params.recovery_draws)
    peaks = peak_stages(max(params.recovery_sets // PEAKS_PER_SET, 1), params.recovery_draws)
    return Design(general, domains, pretraining, tuple(continual), tuple(rates), recovery, peaks)


def _split(params: Params, validation: Fraction, replay: Fraction) -> Split:
    return Split(validation=validation, replay=replay, near_duplicate=params.near_duplicate)


def _pretrain(params: Params, general: Tokens, shape: Shape, seed: int) -> Pretrain:
    steps = params.pretrain_tokens // (params.batch * params.sequence_length)
    warmup = round(params.pretrain_warmup * steps)
    training = _training(params, params.pretrain_tokens, params.pretrain_lr, warmup, params.pretrain_floor)
    return Pretrain(tokens=general, shape=shape, training=training, sequences=params.validation_sequences, seed=seed)


def _continue(params: Params, base: Pretrain, domain: Tokens, ratio: Fraction, multiple: float = 1.0) -> Continue:
    # Warm-up in steps, not as a share: with a constant rate after it, a shorter run is the beginning of a longer one.
    peak = multiple * params.continual_lr
    training = _training(params, params.continual_tokens, peak, params.continual_warmup_steps, floor=1.0)
    sequences = params.validation_sequences
    return Continue(base=base, domain=domain, ratio=ratio, training=training, sequences=sequences, seed=base.seed)


def _training(params: Params, tokens: int, peak: float, warmup: int, floor: float) -> Training:
    return Training(
        tokens=tokens,
        length=params.sequence_length,
        batch=params.batch,
        peak=float(peak),
        warmup=warmup,
        floor=float(floor),
        weight_decay=float(params.weight_decay),
        clip=float(params.clip),
        precision=params.precision,
        measures=params.validation_points,
    )
