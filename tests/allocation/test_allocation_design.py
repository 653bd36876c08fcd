"""Which runs a study of paper B asks for, what they share, and what `repro plan` says they cost."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import ROOT
from repro import params
from repro.allocation import results
from repro.allocation.design import Design, design
from repro.allocation.plan import plan
from repro.allocation.study import open_study, why_not_executed
from repro.cli import main
from repro.lm.models import PackageModel, Shape, new_model
from repro.params import AllocationParams, ParamsError
from repro.runs.spec import Stage, closure
from repro.stages.evaluate import Drift, Evaluate, HeldOut, Programs, RatioDrift, spread
from repro.stages.lora import Cpt, Sft
from repro.stages.texts import Base
from repro.stages.training import Pretrain

QUICK: dict[str, Any] = yaml.safe_load((ROOT / "params/quick.yaml").read_text())
HEALTH = {"name": "health", "builtin": "health", "benchmarks": ["hpo_terms"]}
CODING = {"name": "coding", "builtin": "coding", "benchmarks": ["python_docstrings", "humaneval"]}
SMALL: dict[str, Any] = {
    "domains": [HEALTH, CODING], "budget": 1000, "sft_tokens": [0, 100, 300, 1000], "sft_only_tokens": [100, 1000],
    "other_budgets": [{"budget": 600, "sft_tokens": [100]}], "cpt_ablation": [300, 800], "cpt_ablation_sft": 100,
    "cpt_length": 20, "cpt_batch": 3, "seeds": [0],
}  # fmt: skip


def checked(**values: Any) -> AllocationParams:
    return params.check(QUICK | SMALL | values, AllocationParams)


def designed(*, programs: bool = True, **values: Any) -> Design:
    return design(checked(**values), programs=programs)


def of(found: Design, kind: type[Stage]) -> list[Any]:
    return [stage for stage in closure(list(found.stages)) if isinstance(stage, kind)]


def keys(found: Design, *kinds: type[Stage]) -> set[str]:
    return {stage.key for stage in closure(list(found.stages)) if not kinds or isinstance(stage, kinds)}


# Sharing


def test_one_trajectory_serves_every_cpt_of_a_domain_and_a_seed() -> None:
    found = of(designed(), Cpt)
    health = sorted((one for one in found if one.domain.text.name == "health"), key=lambda one: one.tokens)
    coding = sorted((one for one in found if one.domain.text.name == "coding"), key=lambda one: one.tokens)
    assert [one.tokens for one in coding] == [660, 900, 960], "of 700, 900 and 1000, in steps of 3 x 20"
    assert [one.tokens for one in health] == [300, 480, 660, 780, 900, 960], "ablation and other budget among them"
    for chain in (health, coding):
        assert [one.after for one in chain] == [None, *chain[:-1]]
        assert sum(one.new_tokens for one in chain) == chain[-1].whole_tokens == 960


def test_tunings_after_the_same_cpt_go_on_from_each_other() -> None:
    found = [one for one in of(designed(cpt_ablation=[900], cpt_ablation_sft=300), Sft) if one.pairs.name == "health"]
    chains: dict[str, list[Sft]] = {}
    for one in sorted(found, key=lambda one: one.tokens):
        chains.setdefault(one.start.key, []).append(one)
    listed = {getattr(chain[0].start, "tokens", 0): [one.tokens for one in chain] for chain in chains.values()}
    assert listed == {0: [100, 1000], 480: [100], 660: [300], 900: [100, 300]}
    for chain in chains.values():
        assert [one.after for one in chain] == [None, *chain[:-1]]


def test_a_stage_s_key_does_not_depend_on_what_else_is_asked_for() -> None:
    """Nor on the order: so a larger study finds the runs of a smaller one."""
    few = designed(sft_tokens=[300, 0], sft_only_tokens=[], other_budgets=[], cpt_ablation=[], domains=[HEALTH])
    more = designed()
    for kind in (Cpt, Sft, Evaluate, HeldOut):
        assert keys(few, kind) < keys(more, kind), kind.__name__
    assert keys(designed(sft_tokens=[1000, 300, 0, 100])) == keys(more)


def test_one_more_allocation_adds_its_own_stages_only() -> None:
    """In health the CPT is there already, for the ablation: the same CPT is trained and measured once."""
    before, after = designed(), designed(sft_tokens=[0, 100, 200, 300, 1000])
    new = [stage for stage in closure(list(after.stages)) if stage.key not in keys(before)]
    own = sorted(type(stage).__name__ for stage in new if not isinstance(stage, RatioDrift))
    twice = ["Sft", "Evaluate", "Drift", "Drift"]
    assert own == sorted([*twice, *twice, "Cpt", "HeldOut", "Programs"])
    assert sorted(stage.tokens for stage in new if isinstance(stage, Cpt | Sft)) == [200, 200, 780]
    assert sum(isinstance(stage, RatioDrift) for stage in new) == 2 * 2 * 2, "to both neighbours, before and after SFT"


def test_the_largest_tuning_does_not_decide_the_sample_that_drift_is_measured_on() -> None:
    """The sample is the first pairs, whoever is tuned on the most of them: adding an allocation repeats no drift."""
    few, more = designed(sft_tokens=[0, 100, 300]), designed(sft_tokens=[0, 100, 300, 400])
    assert keys(few, Drift) < keys(more, Drift)


@pytest.mark.parametrize("sft", [[0, 135, 139], [0, 951, 990]], ids=["within one step", "less than a step"])
def test_allocations_that_whole_steps_make_the_same_do_not_wait_for_themselves(sft: list[int]) -> None:
    """A step of CPT takes 60 tokens, so that 865 and 861 tokens are both 14 steps, and 49 and 10 tokens none."""
    for one in of(designed(sft_tokens=sft, domains=[HEALTH]), Cpt):
        assert one.after is None or one.after.key != one.key


def test_all_in_sft_is_sft_alone() -> None:
    found = designed(domains=[HEALTH], other_budgets=[{"budget": 100, "sft_tokens": [100]}])
    trials = {(trial.kind, trial.sft_tokens): trial for trial in found.trials if trial.cpt_tokens == 0}
    for kind, tokens in (("allocation", 1000), ("other budget", 100)):
        one, alone = trials[kind, tokens], trials["SFT only", tokens]
        assert one.model is alone.model and one.evaluation.key == alone.evaluation.key
        assert one.before is found.base
    base = trials["base", 0]
    assert base.model is base.before is found.base


def test_seeds_share_the_data_and_the_base_and_nothing_that_is_trained() -> None:
    one, two = designed(seeds=[5]), designed(seeds=[5, 6])
    assert keys(one) < keys(two)
    trained = {seed: {s.key for s in of(two, Cpt) + of(two, Sft) if s.seed == seed} for seed in (5, 6)}
    assert len(trained[5]) == len(trained[6]) > 0 and not trained[5] & trained[6]
    bases = [(trial.domain, trial.seed) for trial in two.trials if trial.kind == "base"]
    assert bases == [("health", 5), ("coding", 5)], "it is not trained, so no seed changes it"
    assert {one.trial.seed for one in two.drift} == {5}


def test_the_noise_floor_is_the_middle_allocation_with_another_seed() -> None:
    plain, more = designed(), designed(drift_floor_seed=3)
    assert not plain.floor and keys(plain) < keys(more)
    assert [(one.trial.sft_tokens, one.phase, one.stage.second.seed) for one in more.floor] == [  # type: ignore[union-attr]
        (300, "CPT with another seed", 3), (300, "SFT with another seed", 3),
    ]  # fmt: skip
    assert keys(more, Cpt) - keys(plain, Cpt) == {one.stage.second.key for one in more.floor[:1]}
    with pytest.raises(ParamsError, match="drift_floor_seed must differ from the first of seeds"):
        checked(drift_floor_seed=0)


def test_drift_on_a_random_share_is_another_run_and_on_examples_the_same() -> None:
    plain, share = designed(), designed(drift_share="3/10")
    assert not keys(plain, RatioDrift) & keys(share, RatioDrift)
    assert keys(plain, Drift) == keys(share, Drift)
    stage, other = plain.ratio_drift[0].stage, share.ratio_drift[0].stage
    assert stage._chosen(range(100)) == spread(range(100), stage.examples)
    drawn = other._chosen(range(100))
    assert len(set(drawn)) == 30 and drawn == other._chosen(range(100)) != sorted(drawn)
    assert other._chosen([]) == [] and len(other._chosen([5, 6])) == 1


def test_snapshots_of_one_sft_and_fixed_steps_stand_beside_the_budget_s_allocations() -> None:
    """One CPT and one SFT along it, for the first domain; steps are counted in the key only where they are given."""
    plain, more = designed(), designed(snapshots=[400, 100], sft_steps=7)
    assert keys(plain) < keys(more)
    trials = [trial for trial in more.trials if trial.kind in ("snapshot", "fixed steps")]
    assert [(t.kind, t.budget, t.cpt_tokens, t.sft_tokens) for t in trials] == [
        ("snapshot", None, 1000, 100), ("snapshot", None, 1000, 400),
        ("fixed steps", 1000, 900, 100), ("fixed steps", 1000, 700, 300), ("fixed steps", 1000, 0, 1000),
    ]  # fmt: skip
    one, other = (trial.model for trial in trials[:2])
    assert isinstance(other, Sft) and other.after == one and trials[0].before is trials[1].before
    assert [trial.model.steps for trial in trials if isinstance(trial.model, Sft)] == [None, None, 7, 7, 7]
    assert all(trial.model.after is None for trial in trials[2:] if isinstance(trial.model, Sft))
    assert {trial.domain for trial in trials} == {"health"}


# What is asked for where


def test_trials_go_by_domain_seed_kind_and_sft_tokens() -> None:
    found = designed(seeds=[0, 1])
    listed = [(t.domain, t.seed, t.kind, t.budget, t.cpt_tokens, t.sft_tokens) for t in found.trials]
    common = [
        ("allocation", 1000, 1000, 0), ("allocation", 1000, 900, 100), ("allocation", 1000, 700, 300),
        ("allocation", 1000, 0, 1000), ("SFT only", None, 0, 100), ("SFT only", None, 0, 1000),
    ]  # fmt: skip
    first = [("other budget", 600, 500, 100), ("CPT ablation", None, 300, 100), ("CPT ablation", None, 800, 100)]
    expected = []
    for domain, asked in (("health", common + first), ("coding", common)):
        base = (domain, 0, "base", None, 0, 0)
        expected += [base, *((domain, seed, *one) for seed in (0, 1) for one in asked)]
    assert listed == expected


def test_replayed_text_gives_none_of_its_domain_s_questions_away() -> None:
    found = designed()
    health, coding = found.replays
    assert health.key != coding.key
    asked = [replay.domain.against for replay in found.replays]
    assert [one[0].pairs for one in asked] == [material.domain.pairs for material in found.materials]
    for material, replay in zip(found.materials, found.replays, strict=True):
        assert material.seen is not None and material.seen.key == replay.key
    trained = {one.domain.text.name: one.replay.text.key for one in of(found, Cpt)}
    assert trained == {"health": health.key, "coding": coding.key}
    tuned = {one.pairs.name: one.replay.material.key for one in of(found, Sft)}
    assert tuned == trained


def test_programs_are_executed_only_where_they_can_be() -> None:
    found = designed()
    programs = of(found, Programs)
    assert {one.benchmark for one in programs} == {"humaneval"}
    assert {one.model.key for one in programs} == {t.model.key for t in found.trials if t.domain == "coding"}
    assert all(one.isolated for one in programs)
    without = designed(programs=False)
    assert of(without, Programs) == [] and all(trial.programs == () for trial in without.trials)
    assert keys(without) == keys(found) - keys(found, Programs)
    assert not any(one.isolated for one in of(designed(unsafe_no_sandbox=True), Programs))


def test_why_programs_are_not_executed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from repro import sandbox

    monkeypatch.setattr(sandbox, "probe", lambda: "no bwrap here")
    assert why_not_executed(checked()) == "no bwrap here"
    study = open_study(checked())
    assert of(study.design, Programs) == []
    assert study.scale["not_run"] == "HumanEval (no bwrap here)"
    models = {trial.model.key for trial in study.design.trials if trial.domain == "coding"}
    assert study.notes == (f"the programs of {len(models)} models are not executed: no bwrap here",)
    assert why_not_executed(checked(domains=[HEALTH])) == ""
    assert open_study(checked(domains=[HEALTH])).scale["not_run"] == "none"
    unsafe = open_study(checked(unsafe_no_sandbox=True))
    assert unsafe.scale["not_run"] == "none" and of(unsafe.design, Programs)
    assert unsafe.notes == ("programs that models write are executed without a sandbox (--unsafe-no-sandbox)",)
    monkeypatch.setattr(sandbox, "probe", lambda: None)
    assert open_study(checked()).scale["not_run"] == "none" and open_study(checked()).notes == ()


def test_drift_is_measured_through_the_phases_and_between_neighbours() -> None:
    found = designed(domains=[HEALTH])
    phases = [(one.trial.sft_tokens, one.phase) for one in found.drift]
    assert phases == [
        (0, "base to CPT"), (100, "base to CPT"), (100, "CPT to SFT"), (300, "base to CPT"), (300, "CPT to SFT"),
    ]  # fmt: skip
    assert {one.stage.pairs.key for one in found.drift} == {one.pairs.key for one in of(found, Sft)}, "one sample"
    between = [(one.fewer.sft_tokens, one.more.sft_tokens, one.model) for one in found.ratio_drift]
    assert between == [(a, b, m) for a, b in ((0, 100), (100, 300), (300, 1000)) for m in ("CPT only", "CPT and SFT")]
    tuned = {one.stage.tuned: one.stage for one in found.ratio_drift if one.more.sft_tokens == 1000}
    assert tuned[False].earlier is found.base and tuned[False].models == (found.base, tuned[False].later)
    assert tuned[True].models == (tuned[True].more, tuned[True].fewer)
    first = next(one.stage for one in found.ratio_drift if one.fewer.sft_tokens == 0 and one.stage.tuned)
    assert first.fewer is None and first.models[1] is first.later


# Tokens and plans


def test_tokens_trained_against_training_everything_by_itself_by_hand() -> None:
    """Steps of 60 tokens: CPT of 1000, 900, 700, 500 (the other budget), 300 and 800 (the ablation)."""
    found = designed(domains=[HEALTH])
    table = results.tokens(found.trials, lambda one: one.tokens, lambda one: 2.0).set_index("phase")
    assert table.loc["CPT", "trained"] == 960
    assert table.loc["CPT", "seconds"] == 2 * len(of(found, Cpt)), "each run once"
    assert table.loc["CPT", "naive"] == 960 + 900 + 660 + 480 + 300 + 780
    assert table.loc["SFT", "trained"] == (100 + 300 + 1000) + 100 + (100 + 100), "SFT alone shares the last one's run"
    assert table.loc["SFT", "naive"] == (100 + 300 + 1000) + 100 + 100 + (100 + 100)
    costs = plan(checked(domains=[HEALTH]))
    trained = {phase.name: phase.tokens for phase in costs.phases}
    assert (trained["CPT"], trained["SFT"]) == tuple(table["trained"])
    assert costs.naive_tokens == table["naive"].sum()
    assert costs.naive_flops > costs.flops


def test_tokens_trained_are_those_that_finished_runs_took() -> None:
    found = designed(domains=[HEALTH])
    trained = lambda one: one.tokens - 5 * isinstance(one, Sft)  # noqa: E731
    table = results.tokens(found.trials, trained, lambda one: 2.0).set_index("phase")
    assert table.loc["SFT", "trained"] == 1700 - 6 * 5, "seven runs, one of which goes on from another"
    assert table.loc["SFT", "naive"] == 1800 - 7 * 5


def test_a_second_domain_or_seed_costs_as_much_again() -> None:
    values: dict[str, Any] = {"other_budgets": [], "cpt_ablation": []}
    one = plan(checked(domains=[HEALTH], **values))
    for twice in ({"seeds": [0, 1], "domains": [HEALTH]}, {"domains": [HEALTH, CODING]}):
        found = plan(checked(**(values | twice)))
        assert (found.tokens, found.naive_tokens) == (2 * one.tokens, 2 * one.naive_tokens)


def test_the_paper_s_plan_says_that_its_budget_and_its_steps_disagree(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["plan", "--preset", "paper-allocation", "--json", str(tmp_path / "plan.json")]) == 0
    told = capsys.readouterr().out
    assert "The budget as printed is 30B tokens" in told
    assert "the printed CPT steps x batch x length are 98.3M, 305 times less" in told, "2,000 x 3 x 16,384"
    assert "have 300k to 2.4M SFT tokens; the printed SFT steps x batch x length are 14.75M" in told
    assert "They disagree" in told
    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["printed"]["cpt_tokens"] == 2000 * 3 * 16_384 == 98_304_000
    assert found["budget"] == 30_000_000_000
    assert found["disagreement"] in told


def test_a_plan_as_json_says_what_the_text_says() -> None:
    costs = plan(checked())
    found = json.loads(json.dumps(costs.as_json(), allow_nan=False))
    assert found.keys() >= {
        "preset", "base_model", "parameters", "phases", "naive_tokens", "memory_gib", "disk_gib", "budget", "printed",
        "runs", "tokens", "flops", "naive_flops", "hours", "disagreement",
    }  # fmt: skip
    assert [phase["name"] for phase in found["phases"]] == ["CPT", "SFT", "evaluation", "drift"]
    kinds = (Cpt, Sft, Evaluate, HeldOut, Programs, Drift, RatioDrift)
    assert found["runs"] == sum(phase["runs"] for phase in found["phases"]) == len(keys(designed(), *kinds))
    assert (found["printed"], found["disagreement"]) == (None, "") and "disagree" not in str(costs)
    assert found["base_model"] == "smollm2" and found["base_model"] in str(costs)
    assert all(found[name] > 0 for name in ("parameters", "memory_gib", "disk_gib", "flops"))
    assert all(hours > 0 for hours in found["hours"].values())


# Base models


TINY = Shape(hidden=8, intermediate=8, layers=1, heads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tiny"
    new_model(TINY, 32, 256, seed=0).save_pretrained(made, max_shard_size="1KB")
    assert len(list(made.glob("*.safetensors"))) > 1
    return made


def test_a_folder_s_weights_are_counted_and_its_bytes_are_its_identity(folder: Path) -> None:
    given = {"base_model": {"folder": str(folder)}}
    base = designed(**given).base
    assert isinstance(base, Base) and (base.parameters, base.name) == (TINY.parameters(32), "tiny")
    assert plan(checked(**given)).parameters == TINY.parameters(32)
    said = designed(base_model={"folder": str(folder), "parameters": 99}).base
    assert said.parameters == 99 and said.key == base.key, "how many there are is no part of what it is"
    moved = folder.rename(folder.with_name("elsewhere"))
    assert designed(base_model={"folder": str(moved)}).base.key == base.key
    config = moved / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"initializer_range": 0.5}))
    assert designed(base_model={"folder": str(moved)}).base.key != base.key


def test_a_folder_without_safetensors_is_no_model(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(
        ParamsError, match=r"^base_model\.folder: .*tiny holds no model: it needs config\.json and"
    ) as told:
        designed(base_model={"folder": str(folder)})
    assert "\n" not in str(told.value)


OWN = {"hidden": 32, "intermediate": 64, "layers": 2, "heads": 2, "vocabulary": 300, "tokens": 600, "lr": 1.0e-2}


def test_a_model_of_our_own_is_pretrained_on_the_replayed_text() -> None:
    found = designed(base_model={"own": OWN})
    base = found.base
    assert isinstance(base, Pretrain) and base.tokens.text.name == "general"
    assert {one.tokenizer.key for cpt in of(found, Cpt) for one in (cpt.domain, cpt.replay)} == {
        base.tokens.tokenizer.key
    }
    assert {one.base.key for one in of(found, Cpt)} == {base.key}
    assert plan(checked(base_model={"own": OWN})).base_model == "a model of our own"
    with pytest.raises(ParamsError, match=r"^base_model\.own\.tokens: must be at least 300, 5 steps of CPT's size$"):
        designed(base_model={"own": OWN | {"tokens": 299}})


def test_the_scale_says_what_results_rest_on() -> None:
    study = open_study(checked(seeds=[0, 1]))
    told = study.scale
    assert (told["model"], told["seeds"], told["examples"]) == (study.base_name, 2, study.params.drift_examples)
    assert told["budget"] == study.params.budget and told["parameters"] == study.design.base.parameters / 1e6
    assert told["not_run"] == "none"


def test_a_packaged_model_is_described_by_its_file() -> None:
    model = PackageModel(package="smollm2", sha256="")
    assert model.described == "SmolLM2-135M-Instruct, 4-bit weights expanded to bf16"
