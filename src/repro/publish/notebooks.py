"""Execute notebooks through papermill, strictly: what papermill only warns about is an error here.

An executed notebook carries a stamp in its metadata: what it was made from, and a hash of the whole file. The stamp
tells whether the page is up to date, and whether the file is as it was written. What a notebook says of its parameters,
and whether values fit it, is known before a kernel is started.
"""

import functools
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import psutil
from nbformat import NotebookNode
from nbformat.v4 import new_output

from repro.params import PAPERS, ParamsError, Section, assigned, names
from repro.runs.folder import writing

STAMP = "repro"  # key of our stamp in the notebook's metadata
MARK = b'"file_sha256": "'  # a name that nothing else in a notebook has
BLANK = "0" * 64
PACKAGE = Path(__file__).resolve().parents[1]
BEGIN = re.compile(rf"^[^#\n]*\b({'|'.join(PAPERS)})(\.claims)?\.begin\(", re.MULTILINE)  # of claims: every paper
Fault = tuple[int | None, str, str]  # a cell's number, its source, and what went wrong there


class NotebookFailed(Exception):
    """A notebook did not run to its end. Attributes: ``cell`` (its number as Jupyter shows it, ``[3]``; None if the
    kernel died), ``kept`` (the notebook as far as it came, to look at).
    """

    def __init__(self, notebook: Path, cell: int | None, source: str, traceback: str, kept: Path) -> None:
        self.cell, self.kept = cell, kept
        where = "the kernel died" if cell is None else f"cell [{cell}] failed"
        parts = [f"{notebook.name}: {where} (kept for reading: {kept})", source, traceback]
        super().__init__("\n\n".join(part.strip("\n") for part in parts if part.strip()))


class Declared(NamedTuple):
    """``listed``: the names that the cell tagged ``parameters`` assigns.

    ``schemas``: of the papers whose studies the notebook begins (``cmr.begin``, ``allocation.begin``, or with both
    papers' ``claims.begin``), the first the paper's it is of; every name of them may be given, listed or not.
    """

    listed: list[str]
    schemas: tuple[type[Section], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every parameter that the notebook takes."""
        return tuple(dict.fromkeys([*self.listed, *(name for schema in self.schemas for name in names(schema))]))


def declared(notebook: Path) -> Declared:
    """What a notebook declares. Raises ParamsError if the file is not a notebook, or has no cell tagged ``parameters``
    that is Python.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except (ValueError, TypeError, KeyError, AttributeError, nbformat.ValidationError):  # whatever the file holds
        raise ParamsError(f"{notebook}: must be a Jupyter notebook") from None
    tagged = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if not tagged:
        raise ParamsError(f"{notebook}: no cell is tagged 'parameters'")
    try:
        listed = assigned(tagged[0])
    except SyntaxError:
        raise ParamsError(f"{notebook}: the cell tagged 'parameters' must be Python") from None
    begins = [match for cell in cells if cell.cell_type == "code" and (match := BEGIN.search(cell.source))]
    own = [PAPERS[begins[0][1]], *(PAPERS.values() if begins[0][2] else ())] if begins else []
    return Declared(listed, tuple(dict.fromkeys(own)))


def _check(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook does not take, which papermill would only warn about: ParamsError names what
    is allowed.
    """
    takes = declared(notebook)
    unknown = [name for name in parameters if name not in takes.names]
    if unknown:
        which = ", ".join(map(repr, unknown))
        raise ParamsError(f"{notebook.name}: unknown parameter {which}; allowed: {', '.join(takes.names)}")


def execute_one(
    notebook: Path, output: Path, parameters: Mapping[str, Any], studies: Mapping[type[Section], str]
) -> str | None:
    """Execute a notebook with the parameters of its paper unless it is up to date; the digest of its inputs, or None,
    with a message, if it fails.

    parameters: of all studies. studies: by schema, what else decides the numbers of a study. Raises ParamsError if the
    notebook begins no study, or one that there are no parameters for.
    """
    schemas = declared(notebook).schemas
    if not schemas:
        raise ParamsError(f"{notebook.name}: must call cmr.begin(globals()) or allocation.begin(globals())")
    if schemas[0] not in studies:
        raise ParamsError(f"{notebook.name}: these parameters are those of the other paper's study")
    given = [schema for schema in schemas if schema in studies]
    own = {name: value for name, value in parameters.items() if any(name in names(schema) for schema in given)}
    extra = " ".join(studies[schema] for schema in given)
    inputs = inputs_digest(notebook, own, extra)
    if up_to_date(notebook, output, own, extra):
        print(f"{notebook.name}: up to date", flush=True)
        return inputs
    started = time.monotonic()
    print(f"{notebook.name} ...", flush=True)
    try:
        execute(notebook, output, own, extra=extra)
    except NotebookFailed as error:
        print(f"repro: {error}", file=sys.stderr)
        return None
    print(f"{notebook.name}: {time.monotonic() - started:.0f} s -> {output}", flush=True)
    return inputs


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any], *, extra: str = "") -> None:
    """Run ``notebook`` with ``parameters`` and write the executed copy, stamped complete, to ``output``.

    The kernel is this very interpreter, whatever kernels are installed. What it writes to standard error (progress
    bars) appears on ours while it runs. An earlier ``output`` stays until all has run. No process that the notebook
    started outlives it. Raises ParamsError if no ``parameters`` cell, or a parameter that the notebook does not take.
    Raises NotebookFailed if a cell raised, ended the process, or the kernel died. Raises
    KeyboardInterrupt once the kernel has ended.
    """
    _check(notebook, parameters)
    inputs = inputs_digest(notebook, parameters, extra)  # before it runs, so that later edits make the page stale
    output.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(output)
    part = output.with_name(f".{output.stem}.{os.getpid()}.part.ipynb")
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    started = time.monotonic()
    try:
        with writing(output):
            nb = _run(notebook, part, failed, dict(parameters))
            _strip_bars(nb)
            seconds = round(time.monotonic() - started, 1)
            write_stamped(nb, part, {"complete": True, "inputs": inputs, "seconds": seconds})
            part.replace(output)
        failed.unlink(missing_ok=True)
    finally:
        part.unlink(missing_ok=True)


def up_to_date(notebook: Path, output: Path, parameters: Mapping[str, Any], extra: str = "") -> bool:
    """Whether ``output`` is what `execute` would make again from the same inputs."""
    stamp = stamp_of(output)
    return stamp is not None and stamp["inputs"] == inputs_digest(notebook, parameters, extra)


def inputs_digest(notebook: Path, parameters: Mapping[str, Any], extra: str) -> str:
    """SHA-256 over what decides a notebook's output.

    That is its source, the parameters, the `installed` packages, the files of this package, and ``extra``:
    whatever else the notebook reads, such as a digest of data named by a parameter.
    """
    digest = hashlib.sha256()
    cells = nbformat.read(notebook, as_version=4).cells
    source = [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in cells]
    digest.update(json.dumps(source, sort_keys=True).encode())
    digest.update(json.dumps(parameters, sort_keys=True).encode())
    digest.update(f"{extra}\0{installed()}".encode())
    for path in sorted(p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def installed() -> str:
    """Python's version and ``name==version`` of every installed package, one a line."""
    packages = {f"{dist.name}=={dist.version}" for dist in distributions()}
    return "\n".join([sys.version, *sorted(packages)])


def write_stamped(nb: NotebookNode, path: Path, stamp: dict[str, Any]) -> None:
    """Write a notebook with `stamp` and the SHA-256 of the whole file, as it is with zeros in the hash's place."""
    nb.metadata[STAMP] = stamp | {"file_sha256": BLANK}
    blank = nbformat.writes(nb).encode()
    before, after = _around(blank)
    path.write_bytes(before + hashlib.sha256(blank).hexdigest().encode() + after)


def stamp_of(path: Path) -> dict[str, Any] | None:
    """The stamp of an executed notebook; None where there is no file, or it is not as it was written."""
    try:
        return stamp_in(path.read_bytes())
    except FileNotFoundError:
        return None


def stamp_in(data: bytes) -> dict[str, Any] | None:
    """The stamp in the bytes of an executed notebook; None where there is none, or they were changed."""
    before, after = _around(data)
    given = data[len(before) : len(data) - len(after)]
    if given != hashlib.sha256(before + BLANK.encode() + after).hexdigest().encode():
        return None
    stamp = json.loads(data)["metadata"].get(STAMP, {})
    return dict(stamp) if stamp.get("complete") is True else None


def _around(data: bytes) -> tuple[bytes, bytes]:
    """The bytes before and after the hash."""
    before, mark, rest = data.rpartition(MARK)
    return before + mark, rest[len(BLANK) :]


def _remove_leftovers(output: Path) -> None:
    """Remove the partial notebooks of earlier executions that were killed."""
    for part in output.parent.glob(f".{output.stem}.*.part.ipynb"):
        pid = part.name.split(".")[-3]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            part.unlink(missing_ok=True)


def _run(notebook: Path, part: Path, failed: Path, parameters: dict[str, Any]) -> NotebookNode:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from repro.publish.kernel import Log, ThisInterpreter, watched

    # What it has to say is in what it raises. It warns of every name that the parameters cell does not list.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    work = functools.partial(
        papermill.execute_notebook,
        str(notebook),
        str(part),
        parameters,
        kernel_name="python3",
        language="python",
        kernel_manager_class=ThisInterpreter,
        progress_bar=False,
        stderr_file=sys.stderr if sys.stderr.isatty() else Log(),
    )
    fault: Fault | None
    try:
        nb: NotebookNode = watched(work)
    except PapermillExecutionError as error:
        fault = error.exec_count, error.source, _plain("\n".join(error.traceback))
    except RuntimeError as error:  # Jupyter's, of a kernel that never came up, and nbclient's DeadKernelError
        fault = None, "", str(error)
    else:
        fault = _early_exit(nb) or _undrawn(nb)
    if fault is not None:
        part.replace(failed)
        raise NotebookFailed(notebook, *fault, failed)
    return nb


def _early_exit(nb: NotebookNode) -> Fault | None:
    """The cell that ended the process, if one did: papermill takes ``sys.exit(0)`` for success."""
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    for position, cell in enumerate(code):
        if any(out.output_type == "error" for out in cell.outputs):
            text = "the cell ended the process (exit), so the cells after it did not run"
            return cell.execution_count, cell.source, text
        if cell.execution_count is None:
            last = code[max(position - 1, 0)]
            return last.execution_count, last.source, "the cells after this one did not run"
    return None


def _undrawn(nb: NotebookNode) -> Fault | None:
    """A cell captioned as figure or table that shows none: IPython only prints what goes wrong in drawing."""
    for cell in nb.cells:
        if "figure" not in cell.metadata.get("mystnb", {}):
            continue
        kinds = {kind for out in cell.outputs for kind in out.get("data", {})}
        if not kinds - {"text/plain"}:
            printed = "".join(out.text for out in cell.outputs if out.output_type == "stream")
            text = f"the cell has a caption but shows no figure or table\n{_plain(printed)}"
            return cell.execution_count, cell.source, text
    return None


def _strip_bars(nb: NotebookNode) -> None:
    """Join what each cell wrote to standard error, without the lines that a progress bar redrew."""
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        errors = [out for out in cell.outputs if out.output_type == "stream" and out.name == "stderr"]
        lines = "".join(out.text for out in errors).split("\n")
        text = "".join(f"{line}\n" for line in lines if line.strip() and "\r" not in line)
        cell.outputs = [out for out in cell.outputs if out not in errors]
        if text:
            cell.outputs.append(new_output("stream", name="stderr", text=text))


def _plain(text: str) -> str:
    """Text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
