"""The claims of paper A: their verdicts by print, digit for digit, and that any study can be asked about them."""

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from helpers import ROOT, studies
from repro.cmr import claims, published
from repro.study import claims as ledger
from repro.study.base import NotRun
from repro.study.claims import VERDICTS, Claim, Replicated

CLAIMS = ledger.read("cmr")
ROWS = {name: ledger.row("cmr", claim) for name, claim in CLAIMS.items()}
AGREEING = [name for name, row in ROWS.items() if row.recomputed_verdict == "agrees"]
DIGITS = [(name, place) for name in AGREEING for place in range(len(CLAIMS[name].values))]
# Where the paper's own numbers say otherwise; what each row shows is the reason.
DIFFERING = ["A007", "A017", "A018", "A026", "A046", "A047", "A048", "A056", "A065", "A067", "A068", "A073", "A074",
             "A077", "A078", "A079", "A086", "A087", "A088", "A091", "A096", "A097"]  # fmt: skip


def test_the_papers_own_numbers_contradict_these_claims() -> None:
    assert [name for name, row in ROWS.items() if row.recomputed_verdict == "differs"] == DIFFERING


def test_most_claims_are_recomputed_or_replicated() -> None:
    assert {ROWS[name].recomputed_verdict for name in CLAIMS} <= set(VERDICTS)
    assert len(set(claims.RECOMPUTED) | set(claims.REPLICATED)) >= 90
    assert len(CLAIMS) >= 94


@pytest.mark.parametrize(("name", "place"), DIGITS)
def test_another_digit_in_print_changes_the_verdict(name: str, place: int) -> None:
    claim, found = CLAIMS[name], ROWS[name].recomputed
    step = 2.001 * (claim.tolerance or 0)
    for change in (-step, step):
        values = tuple(value + change * (number == place) for number, value in enumerate(claim.values))
        assert ledger.verdict(claim.model_copy(update={"values": values}), found) == "differs", name


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_reads_well_and_has_a_page(name: str) -> None:
    claim = CLAIMS[name]
    assert claim.statement.endswith(".") and len(claim.statement) <= 160
    assert (ROOT / "notebooks" / f"{claim.page}.ipynb").is_file()
    assert bool(claim.how) == (name in claims.RECOMPUTED or (name in claims.REPLICATED and not claim.run))
    assert not claim.run or name in claims.REPLICATED
    for text in filter(None, (claim.how, claim.run)):
        assert text.endswith(".") and len(text) <= 200


def _study(seeds: int = 1, ratios: tuple[float, ...] = (0.25,)) -> Any:
    source = SimpleNamespace(name="far")
    params = SimpleNamespace(
        domain=source, second_domain=source, second_ratios=claims.SECOND_RATIOS, seeds=range(seeds), ratios=ratios
    )  # fmt: skip
    return SimpleNamespace(params=params)


ASKED = [
    name for name in claims.REPLICATED if name not in {"A003", "A012", "A015", "A019", "A042", "A093", "A094"}
]  # which need the runs


@pytest.mark.parametrize("design", ["full", "only the domain", "only a quarter", "small ratios", "few points"])
def test_any_design_of_study_can_be_asked(monkeypatch: pytest.MonkeyPatch, design: str) -> None:
    known = studies.results(design)
    monkeypatch.setattr(claims, "_results", lambda study, domain="domain": known)
    monkeypatch.setattr(claims, "alternatives", _alternatives)
    monkeypatch.setattr(claims, "_rivals", claims._rivals.__wrapped__)  # without its cache
    told = 0
    for name in ASKED:
        try:
            found = claims.REPLICATED[name](_study())
        except NotRun:
            continue
        told += found is not None
        if found is not None and found.value is not None:
            assert ledger.written(ledger._plain(found.value), CLAIMS[name].run_form), name
        assert found is None or found.holds in (True, False, None), name
    assert told > (40 if design == "full" else 0)


def _alternatives(analysis: Any) -> pd.DataFrame:
    kinds = ["ratio general", "ratio domain", "token general", "token domain"]
    return pd.DataFrame(
        {
            "kind": kinds,
            "held_out_judged": 2,
            "held_out_wins": 1,
            "median_held_out": 0.1,
            "aicc_judged": 2,
            "aicc_wins": 1,
        }
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_seed_does_not_tell_what_seeds_change(monkeypatch: pytest.MonkeyPatch, seeds: int) -> None:
    monkeypatch.setattr(claims, "_results", lambda study, domain="domain": studies.results("full"))
    found = claims.REPLICATED["A091"](_study(seeds))
    assert found is not None and isinstance(found.value, bool)
    assert found.holds == (found.value if seeds == 3 else None)


@pytest.mark.parametrize(("ratios", "told"), [((0.25, 0.5), False), ((0.0, 0.25, 0.5), True)])
def test_a_turn_counts_only_beside_a_control(monkeypatch: pytest.MonkeyPatch, ratios: Any, told: bool) -> None:
    monkeypatch.setattr(claims, "_results", lambda study, domain="domain": studies.results("full"))
    found = claims.REPLICATED["A002"](_study(3, ratios))
    assert found is not None and isinstance(found.value, bool)
    assert found.holds == (found.value if told else None)


def test_a_feasible_ratio_turns_and_keeps_within_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "EPSILON", -1.0)
    assert not claims.RECOMPUTED["A002"]() and claims.RECOMPUTED["A022"]()


@pytest.mark.parametrize(("near", "holds"), [((0.75, 0.64, 1.0), True), ((0.45, 0.3, 0.6), None)])
def test_domains_are_compared_by_the_intervals_of_the_tolerance(
    monkeypatch: pytest.MonkeyPatch, near: tuple[float, float, float], holds: bool | None
) -> None:
    monkeypatch.setattr(claims, "_results", lambda study, domain="domain": domain)
    monkeypatch.setattr(claims, "_by_tolerance", {"domain": (0.42, 0.37, 0.48), "second_domain": near}.get)
    found = claims.REPLICATED["A010"](_study(3))
    assert found is not None and found.holds is holds
    assert claims.REPLICATED["A010"](_study(1)).holds is None  # type: ignore[union-attr]


def test_what_does_not_exist_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_results", lambda study, domain="domain": studies.results("full"))
    monkeypatch.setattr(claims, "_critical", lambda results: [0.3, math.nan])
    assert claims.REPLICATED["A029"](_study(seeds=3)) == Replicated(None)


def test_what_another_model_gives_is_shown_but_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_results", lambda study, domain="domain": studies.results("full", bootstrap=40))
    found = claims.REPLICATED["A058"](_study())
    assert found is not None and found.holds is None and found.interval is not None
    assert isinstance(found.value, float) and 0 < found.value <= 1


def test_a_card_shows_the_printed_the_recomputed_and_the_function() -> None:
    card = claims.show("A009")
    assert "29.8% to 34.9%" in repr(card) and "[agrees] 29.8%, 34.9%" in repr(card)
    assert (
        "Equation 8 at T = 100, for 460M and 940M. Code: A009 under RECOMPUTED in src/repro/cmr/claims.py."
        in card._repr_html_()
    )


def test_a_claim_of_a_number_names_the_number() -> None:
    """Every value printed is finite and each claim of kind value has some, or says it in words."""
    wordy = {"A079"}
    for claim in CLAIMS.values():
        assert all(map(math.isfinite, claim.values))
        assert isinstance(claim, Claim) and (claim.kind != "value" or claim.values or claim.id in wordy), claim.id


def test_a_number_printed_is_written_the_same_everywhere() -> None:
    """Each is in two files, transcribed twice: the tables and text of the paper, and its claims."""
    critical = {f"A0{58 + place}": published.critical_ratio(size) for place, size in enumerate(published.paper.sizes)}
    errors = published.table("2").dropna(subset="printed_difference")["printed_difference"]
    of_text = {"A011": published.critical_ratio("460M", "academic"), "A065": published.value("figure_5_tokens") / 1e9}
    numbers = critical | dict(zip(("A036", "A037", "A038", "A039"), errors, strict=True)) | of_text
    wrong = {name: value for name, value in numbers.items() if CLAIMS[name].values != pytest.approx((value,))}
    assert not wrong
    assert CLAIMS["A063"].values == CLAIMS["A062"].values == pytest.approx(tuple(critical.values()))
