"""The schema of a study's parameters: every name, what it means and what is allowed."""

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    model_validator,
)


def _fraction(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
        raise ValueError("must be a number or a fraction such as 1/3")
    try:
        ratio = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a number or a fraction such as 1/3") from None
    if not 0 <= ratio <= 1:
        raise ValueError("must be between 0 and 1")
    return ratio


def _inner_fraction(value: object) -> Fraction:
    share = _fraction(value)
    if not 0 < share < 1:
        raise ValueError("must be between 0 and 1, and neither")
    return share


def _number(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("must be a number, not text (YAML reads 1e-4 as text: write 1.0e-4)")
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Share = Annotated[Fraction, BeforeValidator(_fraction), PlainSerializer(str)]
InnerShare = Annotated[Fraction, BeforeValidator(_inner_fraction), PlainSerializer(str)]
Count = Annotated[int, Strict(), Field(gt=0)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$")]


class Section(BaseModel):
    """Base of every part of the schema: no unknown names, nothing changes once checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# Which kinds of source each option is for.
OPTIONS = {
    "topics": ("package",),
    "text_field": ("folder", "hub"),
    "licence": ("folder", "hub"),
    "config": ("hub",),
    "split": ("hub",),
    "revision": ("hub",),
    "characters_limit": ("hub",),
}


class SourceParams(Section):
    """One source of documents: exactly one of package, folder and hub, and what to take of it.

    folder: absolute, from ~, or from the project's folder.
    """

    package: str | None = None
    folder: str | None = None
    hub: str | None = None
    topics: tuple[str, ...] = ()
    part: tuple[Share, Share] = (Fraction(0), Fraction(1))
    text_field: str = "text"
    licence: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    characters_limit: Count | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "SourceParams":
        given = [name for name in ("package", "folder", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of package, folder and hub, not {' and '.join(given) or 'none'}")
        for name in self.model_fields_set - {given[0], "part"}:
            if given[0] not in OPTIONS[name]:
                raise ValueError(f"{name} is an option of {' and '.join(OPTIONS[name])}, not of {given[0]}")
        if self.part[0] >= self.part[1]:
            raise ValueError("part must be [from, to] with from < to")
        if self.hub and not self.revision:
            raise ValueError("a hub data set needs a revision, so that it stays the same text")
        return self


class DomainParams(Section):
    """A domain: its name in tables and figures, and its text."""

    name: Name
    sources: Annotated[tuple[SourceParams, ...], Field(min_length=1)]


class ModelParams(Section):
    """A model's shape, as the rows of Table 1."""

    hidden: Count
    intermediate: Count
    layers: Count
    heads: Count

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelParams":
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden: {self.heads} does not divide {self.hidden}")
        if self.hidden // self.heads % 2:
            raise ValueError("hidden / heads must be even, for rotary positions")
        return self


def _text(description: str, **options: Any) -> Any:
    return Field(description=description, **options)


class Params(Section):
    """Everything that decides the numbers of a study, and where it runs."""

    preset: Name = _text("name of this set of parameters")
    general: tuple[SourceParams, ...] = _text("sources of general text", min_length=1)
    domain: DomainParams = _text("the domain every size is trained on")
    second_domain: DomainParams = _text("another domain, for the smallest size only")
    validation_share: InnerShare = _text("share of the general documents held out")
    domain_validation_share: InnerShare = _text("share of a domain's documents held out")
    replay_share: InnerShare = _text("share of the general documents kept for continual pretraining")
    near_duplicate: Positive = _text("Jaccard similarity from which two documents count as the same", le=1)
    vocabulary: Count = _text("entries of the tokenizer", ge=257)
    models: tuple[ModelParams, ...] = _text("shapes of the models, smallest first", min_length=1)
    sequence_length: Count = _text("tokens in a training sequence")
    batch: Count = _text("sequences in an optimiser step")
    pretrain_tokens: Count = _text("tokens of general pretraining")
    pretrain_lr: Positive = _text("peak learning rate of pretraining")
    pretrain_warmup: Rate = _text("share of the pretraining steps spent warming up")
    pretrain_floor: Rate = _text("learning rate at the end of the cosine, as a share of the peak")
    continual_tokens: Count = _text("tokens of continual pretraining, T_max")
    continual_lr: Positive = _text("constant learning rate of continual pretraining")
    continual_warmup_steps: Annotated[int, Strict(), Field(ge=0)] = _text("continual steps spent warming up")
    weight_decay: Annotated[float, BeforeValidator(_number), Field(ge=0)] = _text("weight decay of matrices")
    clip: Positive = _text("largest norm of the gradient")
    precision: Literal["fp32", "bf16"] = _text("what matrix products are computed in: fp32 or bf16")
    ratios: tuple[Share, ...] = _text("domain shares R of the mixture, every size", min_length=1)
    second_ratios: tuple[Share, ...] = _text("domain shares R for the second domain", min_length=1)
    seeds: tuple[Annotated[int, Strict(), Field(ge=0)], ...] = _text("seeds of weights and data", min_length=1)
    validation_points: Count = _text("points of a loss curve after the first", ge=5)
    validation_sequences: Count = _text("held-out sequences losses are measured on", ge=2)
    epsilon: Positive = _text("tolerated rise of the general loss, nats per token (Eq. 1)")
    lagrange: Positive = _text("the Lagrange multiplier of Eq. 3")
    bootstrap: Count = _text("bootstrap draws that intervals come from")
    recovery_sets: Count = _text("synthetic studies of known truth that intervals are tested on, for each law")
    recovery_draws: Count = _text("bootstrap draws of each of them")
    device: Literal["auto", "cpu", "cuda"] = _text("where to train: auto, cpu or cuda", default="auto")
    workers: Count | Literal["auto"] = _text("runs at a time; auto is one a core or GPU", default="auto")
    micro_batch: Count | None = _text("sequences per forward pass; null takes the whole batch", default=None)
    checkpoint_seconds: Positive = _text("how often a run saves what it needs to resume", default=60.0)

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        step = self.batch * self.sequence_length
        for name in ("pretrain_tokens", "continual_tokens"):
            if getattr(self, name) < step * self.validation_points:
                least = f"{self.validation_points} steps (validation_points) of {self.batch} x {self.sequence_length}"
                raise ValueError(f"{name} must be at least {step * self.validation_points}: {least} tokens")
        for name in ("ratios", "second_ratios", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must not repeat a value")
        if self.validation_share + self.replay_share >= 1:
            raise ValueError("validation_share + replay_share must leave some text to pretrain on")
        names = [self.domain.name, self.second_domain.name]
        if len({"general", *names}) < 3:
            raise ValueError("domain.name and second_domain.name must differ from each other and from general")
        return self


NAMES = tuple(Params.model_fields)
REQUIRED = frozenset(name for name, field in Params.model_fields.items() if field.is_required())
