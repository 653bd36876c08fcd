"""Ways to spoil a file on disk, and whether a store finds it."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from repro.runs import Stage, Store
from repro.runs.folder import Corrupt, manifest

Spoil = Callable[[Path], object]


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def flip_at_random(rng: random.Random) -> Spoil:
    return lambda file: flip(file, rng.randrange(8 * file.stat().st_size))


def cut(keep: Callable[[int], int]) -> Spoil:
    return lambda file: os.truncate(file, keep(file.stat().st_size))


def ways(rng: random.Random, flips: int) -> Iterator[tuple[str, Spoil]]:
    yield from (("a bit flipped", flip_at_random(rng)) for _ in range(flips))
    yield "a byte short", cut(lambda size: size - 1)
    yield "half of it", cut(lambda size: size // 2)
    yield "empty", cut(lambda _size: 0)
    yield "deleted", Path.unlink


def is_found(store: Store, stage: Stage) -> bool:
    try:
        store.finished(stage)
    except Corrupt:
        return True
    return False


def spoil_every_file(store: Store, stage: Stage, rng: random.Random, flips: int, scratch: Path) -> int:
    """Spoil each file of a finished stage in each way, one at a time; each is found when it is used. How many were."""
    found = 0
    files = [file for file in store.path(stage).rglob("*") if file.is_file()]
    for file in files:
        name = str(file.relative_to(store.path(stage)))
        for way, spoil in ways(rng, flips if file.stat().st_size else 0):
            if not file.stat().st_size and way != "deleted":
                continue
            copy = Store(scratch / str(found))
            shutil.copytree(store.path(stage), copy.path(stage))
            before = manifest(copy.path(stage))
            spoil(copy.path(stage) / name)
            if name == "manifest.json" and way == "deleted":
                assert not copy.has(stage), "as if it had never been done"
            elif is_found(copy, stage):
                assert not copy.has(stage)
                assert len(list((copy.root / "quarantine").iterdir())) == 1
            else:
                assert (name, manifest(copy.path(stage))) == ("manifest.json", before), f"{stage.label}: {way}"
            found += 1
            shutil.rmtree(copy.root)
    return found
