"""From a folder of work to a finished one: cleared for an attempt, sealed with its manifest, published by a rename."""

import shutil
from pathlib import Path

from repro.runs.attempts import LEDGER
from repro.runs.integrity import MANIFEST, Corrupt, manifest, verify, write_manifest
from repro.runs.spec import SCRATCH

KEPT = (SCRATCH, LEDGER)  # what outlives an attempt, and is no part of the result


def prepare(part: Path) -> None:
    """An empty folder but for what resumption needs: what a killed attempt left half written must not be published."""
    part.mkdir(exist_ok=True)
    for path in part.iterdir():
        if path.is_symlink() or not path.is_dir():
            if path.name != LEDGER:
                path.unlink()
        elif path.name != SCRATCH:
            shutil.rmtree(path)


def seal(part: Path) -> None:
    """Say that the work is done. From here on nothing of it is lost, should publishing be cut short."""
    write_manifest(part, without=KEPT)


def sealed(part: Path) -> bool:
    """Whether an earlier attempt did all the work, and only did not live to publish it."""
    if not (part / MANIFEST).is_file():
        return False
    try:
        verify(part)
    except Corrupt:
        return False
    return True


def publish(part: Path, final: Path, ignoring: str) -> list[str]:
    """Put `part` in place of `final`, of which at most the weights had been freed.

    Returns:
        The files of `final` that `part` has otherwise, `ignoring` aside.

    """
    shutil.rmtree(part / SCRATCH, ignore_errors=True)
    (part / LEDGER).unlink(missing_ok=True)
    old = overtaken(final)
    differing: list[str] = []
    if final.exists():
        differing = _differing(final, part, ignoring)
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    part.replace(final)
    shutil.rmtree(old, ignore_errors=True)
    return differing


def _differing(one: Path, other: Path, ignoring: str) -> list[str]:
    after = manifest(other)
    try:
        before = manifest(one)
    except Corrupt:  # there is nothing left to compare with
        return []
    return sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n) and n != ignoring)


def recover(final: Path) -> None:
    """Put back what `publish` had moved away, if it was cut short right then."""
    old = overtaken(final)
    if old.is_dir() and not final.exists():
        old.rename(final)


def overtaken(final: Path) -> Path:
    """Where a finished folder lies while another takes its place."""
    return final.with_name(f"{final.name}.old")
