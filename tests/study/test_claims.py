"""The ledger of claims: what it refuses, its verdicts, its columns, what the command prints and what a card shows."""

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from helpers import ROOT, command
from repro.study import claims
from repro.study.base import BaseStudy, NotRun
from repro.study.claims import VERDICTS, Claim, Replicated

# The contract with those who read `repro claims --json`.
COLUMNS = ["id", "paper", "where", "kind", "statement", "printed", "tolerance", "recomputed", "recomputed_verdict",
           "replicated", "interval", "scale", "replicated_verdict", "recorded", "recorded_interval", "recorded_verdict",
           "page"]  # fmt: skip
ENTRY = "{id: X1, where: Table 1, kind: value, statement: It is so., page: cmr-6-critical"
NUMBERS = ", printed: '0.5', values: [0.5], tolerance: 0.05, reason: one digit"
WRONG = {
    "an unknown name": (f"- {ENTRY}, vaules: [1]}}", "claim X1: vaules: Extra inputs"),
    "a missing name": ("- {id: X1, where: here, kind: value, page: there}", "claim X1: statement: Field required"),
    "another kind": (f"- {ENTRY.replace('kind: value', 'kind: guess')}}}", "claim X1: kind: Input should be 'value'"),
    "text for numbers": (f"- {ENTRY}, values: ['0.5'], tolerance: 1, reason: r}}", "claim X1: values.0: "),
    "values without a tolerance": (f"- {ENTRY}, values: [0.5]}}", "claim X1: .*given together or not at all"),
    "an id given twice": (f"- {ENTRY}}}\n- {ENTRY}}}", "claim X1 is given twice"),
}
CLAIM = claims.parse(f"- {ENTRY}{NUMBERS}}}")["X1"]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_in_the_data_is_named(wrong: str) -> None:
    text, says = WRONG[wrong]
    with pytest.raises(ValueError, match=says):
        claims.parse(text)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(None, "not computable"), (True, "agrees"), (False, "differs"), (0.549, "agrees"), ([0.551], "differs"),
     (float("nan"), "differs")],
)  # fmt: skip
def test_a_verdict_is_within_the_tolerance(found: Any, verdict: str) -> None:
    assert claims.verdict(CLAIM, found) == verdict


def test_a_recomputation_has_as_many_numbers_as_are_printed() -> None:
    with pytest.raises(ValueError, match="2 numbers recomputed, 1 printed"):
        claims.verdict(CLAIM, [0.5, 0.5])


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A way to give a paper of one claim, X1, its two functions."""

    def given(recompute: Any = None, replicate: Any = None, known: Claim = CLAIM) -> None:
        claims.read.cache_clear()
        module: Any = ModuleType("repro.cmr.claims")
        module.RECOMPUTED = {"X1": recompute} if recompute else {}
        module.REPLICATED = {"X1": replicate} if replicate else {}
        monkeypatch.setitem(sys.modules, "repro.cmr.claims", module)
        monkeypatch.setattr(claims, "parse", lambda _: {"X1": known})
        monkeypatch.setattr(claims, "PAPERS", {"cmr": claims.PAPERS["cmr"]})

    yield given
    claims.read.cache_clear()


STUDY: Any = SimpleNamespace(
    design=SimpleNamespace(models=[SimpleNamespace(parameters=92_000), SimpleNamespace(parameters=330_000)]),
    params=SimpleNamespace(continual_tokens=480_000, seeds=(0,)),
)


CARD_STUDY = Mock(spec=BaseStudy, design=STUDY.design, params=STUDY.params)


@pytest.mark.parametrize(("holds", "verdict"), [(True, "agrees"), (False, "differs"), (None, "cannot be told")])
def test_what_runs_give_is_a_row_with_interval_and_scale(paper: Any, holds: bool | None, verdict: str) -> None:
    paper(lambda: 0.52, lambda study: Replicated(0.4, (0.3, 0.5), holds))
    row = claims.row("cmr", CLAIM, STUDY)
    assert (row.recomputed, row.recomputed_verdict, row.tolerance) == (0.52, "agrees", "0.05 (one digit)")
    assert (row.replicated, row.interval, row.replicated_verdict) == (0.4, (0.3, 0.5), verdict)
    assert row.scale == "92.0k to 330k parameters, 480k tokens, one seed"


def test_runs_that_are_missing_are_not_run(paper: Any) -> None:
    def replicate(study: Any) -> Replicated:
        raise NotRun("pretrain 92k")

    paper(replicate=replicate)
    row = claims.row("cmr", CLAIM, STUDY)
    assert (row.recomputed_verdict, row.replicated_verdict, row.scale) == ("not computable", "not run", None)


def test_a_function_that_raises_names_its_claim(paper: Any) -> None:
    paper(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised:
        claims.ledger(among=["cmr"])
    assert raised.value.__notes__ == ["claim X1: It is so."]


def test_a_function_without_a_claim_is_refused(paper: Any) -> None:
    paper(lambda: 0.5)
    sys.modules["repro.cmr.claims"].RECOMPUTED["X2"] = lambda: 1.0
    with pytest.raises(ValueError, match=r"functions without an entry in claims.yaml: X2"):
        claims.read("cmr")


def test_a_card_is_escaped_and_says_where_its_numbers_come_from(paper: Any) -> None:
    known = CLAIM.model_copy(
        update={"statement": "a < b & 'c'", "printed": "<5%", "how": "A <half>.", "form": "{:.1%}"}
    )
    paper(lambda: 0.125 * 4, lambda study: Replicated((0.4, 0.45), (0.3, 0.5)), known)
    cards = claims.show("cmr", "X1")
    assert "a &lt; b &amp; &#x27;c&#x27;" in cards._repr_html_() and "&lt;5%" in cards._repr_html_()
    how = "A &lt;half&gt;. Code: X1 under RECOMPUTED in src/repro/cmr/claims.py."
    assert (
        f'<summary title="{how}">' in cards._repr_html_() and f"<small>{how}</small></details>" in cards._repr_html_()
    )
    assert repr(cards).splitlines()[1:] == ["  printed: <5%", "  its numbers: [agrees] 50.0%"]


def test_runs_are_on_a_card_only_where_a_study_is_asked_and_could_tell(paper: Any) -> None:
    paper(lambda: 0.5)
    assert "this run" not in repr(claims.show("cmr", "X1", CARD_STUDY))
    paper(
        replicate=lambda study: Replicated(0.4), known=CLAIM.model_copy(update={"run": "A mean.", "run_form": "{:g} m"})
    )
    assert "this run: [cannot be told] 0.4 m; our models are others" in repr(claims.show("cmr", "X1", CARD_STUDY))
    assert "this run" not in repr(claims.show("cmr", "X1"))
    paper(replicate=lambda study: Replicated(True), known=CLAIM)
    assert "this run: [cannot be told] in this run it holds; one seed cannot tell" in repr(
        claims.show("cmr", "X1", CARD_STUDY)
    )
    no_number = {"values": (), "tolerance": None, "reason": None, "run_form": "{:g} m"}
    paper(lambda: True, replicate=lambda study: Replicated(0.4), known=CLAIM.model_copy(update=no_number))
    assert "this run: [cannot be told] 0.4 m; one seed cannot tell" in repr(claims.show("cmr", "X1", CARD_STUDY))
    missing: Any = Mock(side_effect=NotRun)
    paper(replicate=missing, known=CLAIM.model_copy(update={"run": "The mean of a run."}))
    shown = claims.show("cmr", "X1", CARD_STUDY)
    assert "this run: [not run]" in repr(shown) and "The mean of a run." in shown._repr_html_(), "what it would take"


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.2976, "{:.1%}", "29.8%"),
        ((2.4, 1.8), "{:.1f}M", "2.4M, 1.8M"),
        ((0.1, math.inf), "T0 = {:.1f}", "T0 = 0.1, \u221e"),
        ((0.25, math.nan), "general {:.1f}, domain {:.1f} nats", "general 0.2, domain none nats"),
        ((0.01, -0.02), "{points:+.1f} points", "+1.0, -2.0 points"),
        (tuple(range(9)), "{:.0f} items", "0 to 8 items"),
        ((True, False), "{:.4g}", "yes, no"),
        (None, "{:.4g}", ""),
    ],
)
def test_a_value_is_written_as_its_form_has_it(value: Any, form: str, text: str) -> None:
    assert claims.written(value, form) == text


def test_a_test_that_fails_says_no(paper: Any) -> None:
    paper(lambda: False)
    assert "its numbers: [differs] no" in repr(claims.show("cmr", "X1"))


def test_a_setting_is_not_said_to_agree(paper: Any) -> None:
    known = CLAIM.model_copy(update={"kind": "setting", "run": "What we set."})
    paper(replicate=lambda study: Replicated(0.5, None, True), known=known)
    assert "this run: [set as in the paper] 0.5" in repr(claims.show("cmr", "X1", CARD_STUDY))


def test_what_print_cannot_tell_is_no_difference(paper: Any) -> None:
    paper(lambda: Replicated(0.3, None, None), lambda study: Replicated(0.4, None, True))
    row = claims.row("cmr", CLAIM, STUDY)
    assert (row.recomputed, row.recomputed_verdict) == (0.3, "cannot be told")
    assert "not shown" in claims.decisive("cmr", "X1").to_html()


@pytest.mark.parametrize(("holds", "relies"), [(True, "yes"), (False, "no: differs in runs"), (None, "not yet")])
def test_what_to_rely_on_says_why_not(paper: Any, holds: bool | None, relies: str) -> None:
    paper(lambda: 0.5, lambda study: Replicated(0.5, None, holds))
    assert claims._rely(claims.row("cmr", CLAIM, STUDY)) == relies


def test_totals_count_every_claim_of_a_paper(paper: Any) -> None:
    paper(lambda: 0.5)
    counted = claims.totals(claims.table()).data
    assert counted.set_index("Verdict").to_dict("index") == {
        "agrees": {"Paper A, its numbers": 1, "Paper A, this run": 0},
        "not run": {"Paper A, its numbers": 0, "Paper A, this run": 1},
    }


def test_an_unknown_claim_is_refused_by_name(paper: Any) -> None:
    paper()
    with pytest.raises(ValueError, match="no claim X9 of cmr; there are X1"):
        claims.show("cmr", "X1", "X9")


def test_a_table_of_claims_is_whole_without_scripts_and_says_what_it_is_filtered_by(paper: Any) -> None:
    paper(lambda: (0.5,), known=CLAIM.model_copy(update={"statement": "<so> it is."}))
    shown = claims.table()._repr_html_()
    assert shown.count("<tr") == 2 and "&lt;so&gt; it is." in shown
    assert (
        'data-paper="Paper A" data-kind="value" data-own="agrees" data-run="not run" data-page="cmr-6-critical"'
        in shown
    )
    assert '<a href="cmr-6-critical.html#X1">X1</a>' in shown
    assert "<select" not in shown.partition("<script>")[0]
    data = claims.table()._repr_mimebundle_()["text/csv"]
    assert next(csv.DictReader(io.StringIO(data)))["recomputed_verdict"] == "agrees"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project without runs."""
    (tmp_path / "params").symlink_to(ROOT / "params")
    return tmp_path


def repro(home: Path, *arguments: str) -> Any:
    return command.repro("claims", *arguments, at=home, environment={"REPRO_HOME": str(home)})


def test_the_command_prints_and_exports_without_any_run(home: Path) -> None:
    done = repro(home, "--json", "out.json", "--csv", "out.csv")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads((home / "out.json").read_text())
    table = list(csv.DictReader(io.StringIO((home / "out.csv").read_text())))
    assert [list(row) for row in (*rows, *table)] == [[*COLUMNS, "study"]] * 2 * len(rows)
    assert {row["replicated_verdict"] for row in rows} == {row["recorded_verdict"] for row in rows} == {"not run"}
    assert {row["recomputed_verdict"] for row in rows} <= set(VERDICTS)
    assert all(row["id"] in done.stdout for row in rows)
    assert not (home / "_runs").exists()


def test_the_command_filters(home: Path) -> None:
    assert repro(home, "--paper", "cmr", "--verdict", "not computable", "--json", "out.json").returncode == 0
    rows = json.loads((home / "out.json").read_text())
    assert {(row["paper"], row["recomputed_verdict"]) for row in rows} <= {("cmr", "not computable")}


@pytest.mark.parametrize("wrong", [("--verdict", "maybe"), ("--paper", "C")])
def test_the_command_refuses_what_there_is_not_in_one_line(home: Path, wrong: tuple[str, str]) -> None:
    done = repro(home, *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and wrong[1] in done.stderr
