"""`repro` without a process of its own: the same `main` with its output caught, and no seconds of imports."""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

from repro import cli

SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # by Python's own default
HEAVY = {"torch", "transformers", "datasets", "distributed", "lm_eval"}  # seconds each
IMPORTED = """
import contextlib, json, sys
from repro.cli import main
for arguments in json.loads(sys.argv[1]):
    with contextlib.suppress(SystemExit):
        main(arguments)
print(json.dumps([name.partition(".")[0] for name in sys.modules]))
"""


def repro(
    *arguments: str, at: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `repro ARGUMENTS` prints and returns in the folder ``at``; a traceback is the test's own."""
    with contextlib.chdir(at or Path.cwd()), mock.patch.dict(os.environ, environment or {}), _caught() as (out, err):
        try:
            status: object = cli.main(arguments)
        except SystemExit as end:
            status = end.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(["repro", *arguments], status, out.getvalue(), err.getvalue())


def imported(commands: Sequence[Sequence[str]], at: Path) -> set[str]:
    """The packages that one process has imported after all these commands, none of which may print anything."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(commands)], cwd=at, env=os.environ | {"REPRO_HOME": str(at)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout))


@contextlib.contextmanager
def _caught() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Standard output and error; as in a process, warnings and log messages are written to the latter."""
    out, err = io.StringIO(), io.StringIO()
    log, terminate = logging.StreamHandler(err), signal.getsignal(signal.SIGTERM)
    log.setLevel(logging.WARNING)
    logging.getLogger().addHandler(log)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.resetwarnings()
            for category in SILENT:
                warnings.simplefilter("ignore", category)
            yield out, err
        err.write("".join(warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in warned))
    finally:
        logging.getLogger().removeHandler(log)
        signal.signal(signal.SIGTERM, terminate)
