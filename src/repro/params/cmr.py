"""The parameters of paper A's study: every name, what it means and what is allowed."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from repro.params import values as v
from repro.params.values import Section, StudyParams, text


class DomainParams(Section):
    """A domain: its name in tables and figures, and its text."""

    name: v.Title
    sources: Annotated[tuple[v.SourceParams, ...], Field(min_length=1)]


class ModelParams(Section):
    """A model's shape, as the rows of Table 1."""

    hidden: v.Count
    intermediate: v.Count
    layers: v.Count
    heads: v.Count

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelParams":
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden: {self.heads} does not divide {self.hidden}")
        if self.hidden // self.heads % 2:
            raise ValueError("hidden / heads must be even, for rotary positions")
        return self


class AdapterParams(Section):
    """A LoRA adapter: updates of rank `rank`, scaled by alpha / rank, to layers; targets: their names, none for all."""

    rank: v.Count
    alpha: v.Count
    targets: tuple[v.Line, ...] = ()


def _sort_of_model(given: Any) -> str:
    """Whether parameters name a pretrained model, or the shape of a new one."""
    if isinstance(given, v.PretrainedParams):
        return "[pretrained]"
    named = isinstance(given, dict) and given.keys() & set(v.PretrainedParams.model_fields)
    return "[pretrained]" if named else "[shape]"


AnyModel = Annotated[
    Annotated[ModelParams, Tag("[shape]")] | Annotated[v.PretrainedParams, Tag("[pretrained]")],
    Discriminator(_sort_of_model),
]


class Params(StudyParams):
    """Everything that decides the numbers of a study of paper A, and where it runs."""

    preset: v.Preset
    general: tuple[v.SourceParams, ...] = text("sources of general text", min_length=1)
    domain: DomainParams = text("the domain that models of every size are trained on")
    second_domain: DomainParams | None = text("another domain, for the smallest model only; null: none", default=None)
    validation_share: v.InnerShare = text("share of the general documents held out")
    replay_share: v.InnerShare = text("share of the general documents kept for replay in continual pretraining")
    vocabulary: v.Count = text("entries of the tokenizer", ge=257)
    models: tuple[AnyModel, ...] = text(
        "the models, smallest first: shapes of new ones, or pretrained ones (package, folder or hub)", min_length=1
    )
    adapter: AdapterParams | None = text("LoRA adapter that pretrained models train; null: all weights", default=None)
    sequence_length: v.Count = text("tokens in a training sequence")
    batch: v.Count = text("sequences in an optimiser step")
    pretrain_tokens: v.Count = text("tokens of general pretraining")
    pretrain_lr: v.Positive = text("peak learning rate of pretraining")
    pretrain_warmup: v.Rate = text("share of the pretraining steps spent warming up")
    pretrain_floor: v.Rate = text("learning rate at the end of the cosine, as a share of the peak")
    continual_tokens: v.Count = text("tokens of continual pretraining, T_max")
    continual_lr: v.Positive = text("constant learning rate of continual pretraining")
    continual_warmup_steps: v.Whole = text("continual steps spent warming up")
    precision: Literal["fp32", "bf16"] = text("precision of matrix products: fp32 or bf16")
    ratios: tuple[v.Share, ...] = text(
        "domain shares R of the mixture, for every size; 0 is the control, general text only", min_length=1
    )
    second_ratios: tuple[v.Share, ...] = text("domain shares R for the second domain", default=())
    learning_rates: tuple[v.Positive, ...] = text(
        "multiples of continual_lr tried beside it, for the smallest size", default=()
    )
    validation_points: Annotated[v.Count, Field(le=10_000)] = text("points of a loss curve after the first", ge=5)
    validation_sequences: v.Count = text("held-out sequences that losses are measured on", ge=2)
    epsilon: v.Positive = text("tolerated rise of the general loss, nats per token")
    lagrange: v.Positive = text("Lagrange multiplier of the objective")
    recovery_sets: v.Sets = text("synthetic studies of known truth, for each law, that intervals are tested on")
    recovery_draws: v.Draws = text("bootstrap draws for each synthetic study")

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        self.require_rows(**dict.fromkeys(("pretrain", "continue"), self.batch))
        step = self.batch * self.sequence_length
        for name in ("pretrain_tokens", "continual_tokens"):
            if getattr(self, name) < step * self.validation_points:
                least = f"{self.validation_points} steps (validation_points) of {self.batch} x {self.sequence_length}"
                raise ValueError(f"{name} must be at least {step * self.validation_points}: {least} tokens")
        each = len(self.models) * (1 + len(self.ratios)) + len(self.second_ratios)
        runs = len(self.seeds) * (each + len(self.learning_rates) * len(self.ratios))
        v.require_few(runs, "models, seeds, ratios, second_ratios and learning_rates")
        self.require_distinct("ratios", "second_ratios", "learning_rates", "seeds")
        if 1 in self.learning_rates:
            raise ValueError("learning_rates must not have 1: continual_lr itself is always run")
        for name in ("ratios", "second_ratios") if self.second_domain else ("ratios",):
            if not any(getattr(self, name)):
                raise ValueError(f"{name} must have one above 0: alone, 0 (general text only) compares with nothing")
        if self.validation_share + self.replay_share >= 1:
            raise ValueError("validation_share + replay_share must leave some text to pretrain on")
        names = ["general", *(domain.name for domain in (self.domain, self.second_domain) if domain)]
        if len(set(names)) < len(names):
            raise ValueError("domain.name and second_domain.name must differ from each other and from general")
        if 0 < sum(isinstance(model, v.PretrainedParams) for model in self.models) < len(self.models):
            raise ValueError("models must be either all shapes of new ones or all pretrained")
        if self.adapter and isinstance(self.models[0], ModelParams):
            raise ValueError("adapter is an option of pretrained models, and models has shapes of new ones")
        return self
