"""No random start finds a better fit: the benchmark's contest, reduced."""

import pytest

from benchmarks.laws import EXCESS, contest, report
from benchmarks.problems import Problem, random_problems

PROBLEMS = list(random_problems(12, seed=7))
# Two whose best valley lies between the cells of the grid, one bent so that Gauss-Newton creeps along it.
HARD = [problem for number, problem in enumerate(random_problems(990, seed=5)) if number in (179, 619, 989)]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.law.name)
def test_never_worse(problem: Problem) -> None:
    found = contest(problem, starts=10, seed=0)
    assert found.excess <= EXCESS, (found.ours, found.theirs)


@pytest.mark.parametrize("problem", HARD, ids=["narrow", "bent", "narrow too"])
def test_never_worse_where_it_is_hard(problem: Problem) -> None:
    found = contest(problem, starts=50, seed=0)
    assert found.excess <= EXCESS, (found.ours, found.theirs)


def test_report_counts() -> None:
    text = report(contest(problem, starts=2, seed=0) for problem in PROBLEMS[:2])
    assert text.startswith("2 problems, 4 calls of curve_fit")
