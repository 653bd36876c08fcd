"""Which runs a set of parameters asks for: the experimental design of paper A as stages."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from repro.data.corpora import Split
from repro.data.sources import PackageSource
from repro.lm.models import PackageModel, Shape
from repro.params import ModelParams, Params, ParamsError
from repro.runs.spec import Stage
from repro.stages.texts import Base, Text, Tokenizer, Tokens
from repro.stages.training import Adapter, Continue, Pretrain, Training
from repro.study.base import BaseDesign, require_packages, sources
from repro.study.models import pretrained, require_context, require_tokenizer
from repro.trust.peaks import Peaks, peak_stages
from repro.trust.recovery import Recovery, recoveries

PEAKS_PER_SET = 6  # one study of each shape and number of items for so many studies of critical ratios


@dataclass(frozen=True)
class Design(BaseDesign):
    """The stages of a study: `domains[0]` is that of every size; runs are ordered by size, domain and ratio.

    general, domains: tokens of the first model's tokenizer; pretraining: of new models, for each seed; models: what
    continual pretraining starts from, one of each size (of new models that of the first seed); rates: the smallest size
    on `domains[0]` once more, at other learning rates.
    """

    general: Tokens
    domains: tuple[Tokens, ...]
    pretraining: tuple[Pretrain, ...]
    models: tuple[Pretrain | Base, ...]
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
        packages = [source.package for source in files if isinstance(source, PackageSource)]
        models = (model.source for model in self.models if isinstance(model, Base))
        require_packages([*packages, *(source.package for source in models if isinstance(source, PackageModel))])
        self.require_models()

    def require_models(self) -> None:
        for model in self.models:
            if isinstance(model, Base):
                require_tokenizer(model)


class Start(NamedTuple):
    """What runs of continual pretraining start from. general: the text that is replayed, for a pretrained model."""

    model: Pretrain | Base
    tokenizer: Tokenizer | Base
    seed: int
    general: Tokens | None


def design(params: Params) -> Design:
    """The stages `params` ask for; ParamsError if a source or model does not exist, or models do not grow in size."""
    general, *domains = _texts(params)
    starts = list(_starts(params, general))
    models = tuple(start.model for start in starts[:: len(params.seeds)])
    labels, counts = [model.size for model in models], [model.parameters for model in models]
    # Sizes name rows, lines and groups of runs, so two models of one label would be taken for one.
    if counts != sorted(counts) or len(set(labels)) < len(labels):
        raise ParamsError(f"models: must grow in size, each with a label of its own, not {', '.join(labels)}")
    smallest = starts[: len(params.seeds)]
    continual = [_continue(params, start, domains[0], ratio) for start in starts for ratio in params.ratios]
    continual += [_continue(params, s, text, r) for text in domains[1:] for s in smallest for r in params.second_ratios]
    rates = [
        _continue(params, start, domains[0], ratio, multiple)
        for multiple in params.learning_rates
        for start in smallest
        for ratio in params.ratios
    ]
    tokens = tuple(Tokens(text=text, tokenizer=smallest[0].tokenizer) for text in (general, *domains))
    return Design(
        general=tokens[0],
        domains=tokens[1:],
        pretraining=tuple(start.model for start in starts if isinstance(start.model, Pretrain)),
        models=models,
        continual=tuple(continual),
        rates=tuple(rates),
        recovery=recoveries(params.recovery_sets, params.recovery_draws),
        peaks=peak_stages(max(params.recovery_sets // PEAKS_PER_SET, 1), params.recovery_draws),
    )


def _texts(params: Params) -> Iterator[Text]:
    """The general text, and those of the domains. All general text is replayed where no model is pretrained on it."""
    held_out = params.domain_validation_share
    replay = params.replay_share if isinstance(params.models[0], ModelParams) else Fraction(0)
    general = Text(
        name="general",
        sources=sources(params.general, "general"),
        split=Split(validation=params.validation_share, replay=replay, near_duplicate=params.near_duplicate),
    )
    yield general
    for field in ("domain", "second_domain"):
        if (domain := getattr(params, field)) is not None:
            yield Text(
                name=domain.name,
                sources=sources(domain.sources, f"{field}.sources"),
                split=Split(validation=held_out, replay=Fraction(0), near_duplicate=params.near_duplicate),
                general=general,
            )


def _starts(params: Params, general: Text) -> Iterator[Start]:
    """By model, then by seed."""
    tokenizer = Tokenizer(text=general, vocabulary=params.vocabulary)
    for number, given in enumerate(params.models):
        if isinstance(given, ModelParams):
            tokens = Tokens(text=general, tokenizer=tokenizer)
            yield from (Start(_pretrain(params, tokens, given, s), tokenizer, s, None) for s in params.seeds)
        else:
            base = pretrained(given, f"models[{number}]")
            require_context(base, params.sequence_length, "sequence_length")
            yield from (Start(base, base, seed, Tokens(text=general, tokenizer=base)) for seed in params.seeds)


def _pretrain(params: Params, general: Tokens, given: ModelParams, seed: int) -> Pretrain:
    shape = Shape(hidden=given.hidden, intermediate=given.intermediate, layers=given.layers, heads=given.heads)
    steps = params.pretrain_tokens // (params.batch * params.sequence_length)
    warmup = round(params.pretrain_warmup * steps)
    training = _training(params, params.pretrain_tokens, params.pretrain_lr, warmup, params.pretrain_floor)
    return Pretrain(tokens=general, shape=shape, training=training, sequences=params.validation_sequences, seed=seed)


def _continue(params: Params, start: Start, domain: Text, ratio: Fraction, multiple: float = 1.0) -> Continue:
    # Warm-up in steps, not as a share: with a constant rate after it, a shorter run is the beginning of a longer one.
    peak = multiple * params.continual_lr
    return Continue(
        base=start.model,
        domain=Tokens(text=domain, tokenizer=start.tokenizer),
        ratio=ratio,
        training=_training(params, params.continual_tokens, peak, params.continual_warmup_steps, floor=1.0),
        sequences=params.validation_sequences,
        seed=start.seed,
        general=start.general,
        adapter=Adapter(**params.adapter.model_dump()) if params.adapter else None,
    )


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
