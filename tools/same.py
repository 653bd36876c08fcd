"""What can be seen of the project, written to a folder, and two such folders compared: did a change leave it alone?

`python tools/same.py write OUT [--home HOME] [--parts keys,fit,help,pages]`, then `python tools/same.py compare A B`.
It runs the code of the checkout that it lies in. Pages are made anew each time; HOME keeps their runs for the next
time, and without it these are done anew as well. Paths, times, commits and hardware are replaced by words.
"""

import argparse
import base64
import difflib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
# Of the process that does the work: which source, one thread for the same sums each time, and the width of help.
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1"}
LINKED = ("notebooks", "params", "book", "_config.yml", "_data")  # what a project's folder has from the checkout
SMOKE = ROOT / "params/smoke.yaml"
SHOWN, WIDTH = 20, 200  # lines of a file's differences, characters of a line

CHANGING = {  # what differs between two runs of the same code
    r" at 0x[0-9a-f]+": " at ADDRESS",
    r"[\d,.]+ seconds of computing": "SECONDS of computing",
    r"(<dt>(Commit|Hardware|Packages)</dt>\s*<dd>).*?</dd>": r"\1\2</dd>",
    r"(commits|packages|hardware)=\(.*?\), (?=packages|hardware|runs)": r"\1, ",
    r"\bseconds=[\d.]+": "SECONDS",
    r"ipynb: \d+ s ->": "ipynb: SECONDS ->",
}
COMMANDS = ("", "book", "train", "run", "plan", "runs", "verify", "fit", "fit cmr", "fit allocation", "data")
WRONG_CALLS = (
    "", "polish", "plan --preset quik", "plan --params none.yaml", "plan --params a.yaml --preset quick",
    "plan --params no-file/", "plan --json no/such/x.json", "runs --preset smoke --json .", "book --preset paper-cmr",
    "book --preset paper-allocation", "run none.ipynb", "run bad.ipynb", "run bad.ipynb -p ratios [2]",
    "run bad.ipynb -p raitos 1", "run bad.ipynb -p preset quick", "run bad.ipynb -p seeds [",
    "run notebooks/cmr-4-ratio.ipynb --preset paper-allocation", "verify --sample 0", "verify --seed x",
    "verify --preset smoke", "train --prepared", "plan --params smoke.yaml --json smoke.yaml", "fit", "fit law",
    "fit cmr a.csv", "fit cmr a.csv --t-max 0", "fit cmr a.csv --epsilon -0.1", "fit cmr a.csv --lagrange inf",
    "fit cmr a.csv --bootstrap 2.5", "fit cmr a.csv --bootstrap 100001", "fit cmr a.csv --base-general 3",
    "fit cmr a.csv --seed -1", "fit cmr a.csv --json a.csv", "fit cmr a.csv --html no/such/o.html",
    "fit allocation a.csv", "fit allocation a.csv --budget 0", "fit allocation a.csv --budget 9 --predict x",
)  # fmt: skip
# Each in place of the smoke preset's own; a name alone is left out.
WRONG_PARAMETERS = (
    "raitos: [1]", "budgte: 1", "ratios: [0.5, 1.5]", "ratios: [1/0]", "ratios: []", "ratios: 0.5", "seeds: [0, 0]",
    "seeds: [-1]", "ratios: [0.5, 1/2]", "continual_tokens: 100", "pretrain_tokens: 0", "batch: yes", "batch: '8'",
    "pretrain_lr: 1e-4", "pretrain_lr: .nan", "pretrain_warmup: 1.5", "precision: fp16", "device: gpu", "models: []",
    "vocabulary: 256", "validation_share: 0.9", "models: [{hidden: 16, intermediate: 48, layers: 1, heads: 3}]",
    "models: [{hidden: 16}]", "models: [{depth: 3}]", "general: [{}]", "general: [{hub: a/b}]", "preset: null",
    "general: [{package: hpoo}]", "general: [{folder: /no/such}]", "general: [{folder: ../x}]", "workers: 1000000",
    "domain: {name: a b, sources: [{package: hpo}]}", "preset: !!python/name:os.system", "preset: {a: 1, a: 2}",
    "seeds: [[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]", "clip: &x [*x]", "a: [", "ratios", "preset", "domains",
    "base_model: {}", "base_model: {package: hpo}", "base_model: {hub: a/b, revision: main}", "sft_rank: 16",
    "domains: [{name: x, builtin: law}]", "domains: [{name: x, builtin: health, benchmarks: [elements]}]",
    "sft_tokens: [0, 20_000]", "sft_adapter: add", "chat_template: no way", "drift_estimator: none",
    "cluster: {scheduler: here}", "cluster: {batch: slurm}", "resources: {sleep: {devices: 2}}",
    "resources: {pretrain: {gpus: 1}}",
)  # fmt: skip
CMR, ALLOCATION = "cmr", "allocation --budget 30e9"
# Files that cannot be fitted: which of the sound ones, what in it, and what stands there instead.
WRONG_TABLES = {
    "header": (CMR, "tokens", "steps"), "twice": (CMR, "domain_loss", "ratio"), "base": (CMR, ",0.0,", ",1.0,"),
    "number": (CMR, ",4.2,", ",n/a,"), "comma": (CMR, ",4.2,", ',"4,2",'), "percent": (CMR, "\n0.", "\n"),
    "ratio": (CMR, "\n0.5,8", "\n,8"), "short": (CMR, ",5.1\n", "\n"), "repeated": (CMR, "\n0.25,", "\n0.5,"),
    "infinite": (CMR, ",5.1\n", ",inf\n"), "quote": (CMR, ",5.1\n", ',"5.1\n'), "negative": (CMR, ",0.0,", ",-1,"),
    "split": (ALLOCATION, "sft_tokens", "tokens"), "score": (ALLOCATION, "score", "loss"),
    "beyond": (ALLOCATION, "6000000.0", "6e10"), "word": (ALLOCATION, "6000000.0", "six"),
    "again": (ALLOCATION, "6000000.0", "400000.0"), "below": (ALLOCATION, "\n", "\n-"),
}  # fmt: skip


def answer(*arguments: str) -> str:
    """What a command prints, and its exit status."""
    command = next(iter(entry_points(group="console_scripts", name="repro"))).load()
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = command(arguments)
        except SystemExit as error:
            status = error.code
        except Exception:
            traceback.print_exc()
            status = "of an exception"
    told = f"[standard error]\n{err.getvalue()}" if err.getvalue() else ""
    return f"$ repro {shlex.join(arguments)}\n{out.getvalue()}{told}[exit status {status}]\n"


def readable(page: str) -> str:
    """A page with its pictures decoded, the data of its charts indented, a line for each tag and no seconds of runs."""

    def timeless(table: re.Match[str]) -> str:
        return re.sub(rf'(_{table[1]}" class="data[^>]*>)[^<]*', r"\1SECONDS", table[0])

    page = re.sub(r"(?s)level0_(col\d+)\"[^>]*>seconds</th>.*?</table>", timeless, page)
    picture, data = r"data:image/svg\+xml;base64,([\w+/=]+)", r'(?s)(?<=class="vega-data">).*?(?=</script>)'
    page = re.sub(picture, lambda found: base64.b64decode(found[1]).decode(), page)
    page = re.sub(data, lambda found: json.dumps(json.loads(found[0]), indent=1, ensure_ascii=False), page)
    return re.sub(r"(?<=>)(?=<)", "\n", page)


def save(file: Path, text: str) -> None:
    """Write a file, without what changes from place to place and from time to time."""
    for place, word in {os.environ["REPRO_HOME"]: "HOME", sys.prefix: "VENV", str(ROOT): "ROOT"}.items():
        text = text.replace(place, word)
    for pattern, word in CHANGING.items():
        text = re.sub(pattern, word, text)
    file.write_text(text, encoding="utf-8")


def keys(out: Path) -> None:
    """Every preset's stages and plan."""
    for preset in sorted(file.stem for file in (ROOT / "params").glob("*.yaml")):
        for command in ("runs", "plan"):
            made = Path(f"{preset}-{command}.json")
            save(out / f"{preset}-{command}.txt", answer(command, "--preset", preset, "--json", str(made)))
            found = json.loads(made.read_text()) if made.exists() else None
            rows = sorted(found, key=lambda row: str(row["key"])) if isinstance(found, list) else found
            save(out / made, json.dumps(rows, indent=1))


def helps(out: Path) -> None:
    """Every help, and what wrong calls and wrong parameters are answered."""
    save(out / "help.txt", "\n".join(answer(*command.split(), "--help") for command in COMMANDS))
    Path("bad.ipynb").write_text("{}")
    shutil.copy(SMOKE, "smoke.yaml")
    save(out / "calls.txt", "\n".join(answer(*shlex.split(call)) for call in WRONG_CALLS))
    smoke, told = yaml.safe_load(SMOKE.read_text()), []
    for line in WRONG_PARAMETERS:
        name, given, _ = line.partition(":")
        others = yaml.safe_dump({field: value for field, value in smoke.items() if field != name})
        Path("mine.yaml").write_text(f"{line}\n{others}" if given else others)
        told.append(f"{line}\n{answer('plan', '--params', 'mine.yaml')}")
    save(out / "parameters.txt", "\n".join(told))


def losses(*sizes: str, ratios: int = 5, points: int = 13, seeds: int = 1, far: float = 1.0) -> pd.DataFrame:
    """Losses that rise and fall again, sooner for small ratios; for each size, seed and ratio."""
    rng, share, rows = np.random.default_rng(0), np.linspace(0, 1, points), []
    for number, size in enumerate(sizes):
        for seed in range(seeds):
            for ratio in (1 / 4, 1 / 2, 1 / 8, 3 / 4, 1 / 3)[:ratios]:
                noise = rng.normal(0, 5e-4, (2, points)) * (share > 0)
                rise = (1 - 0.2 * number) * (0.25 * ratio**1.3 * share**0.5 - 0.06 * far * (1 - ratio) * share)
                fall = far * (0.4 + 0.6 * ratio) * share**0.3
                columns = {"general_loss": 4.2 + rise + noise[0], "domain_loss": 5.1 - fall + noise[1]}
                key = {"ratio": ratio, "tokens": np.round(1e6 * share)}
                rows.append(pd.DataFrame(key | columns | {"size": size, "seed": f"run {seed}"}).round(5))
    return pd.concat(rows).drop(columns=[*["size"] * (sizes == ("",)), *["seed"] * (seeds == 1)])


def scores(points: int = 10, seeds: int = 1, height: float = 0.2) -> pd.DataFrame:
    """Scores with a peak at two million SFT tokens."""
    rng, tokens, rows = np.random.default_rng(1), np.geomspace(0.4e6, 6e6, points).round(-3), []
    for seed in range(seeds):
        peak = 0.30 + height * np.exp(-((np.log(tokens / 2e6) / 0.5) ** 2) / 2) - 3000 / (tokens - 2e5)
        score = (peak + rng.normal(0, 0.003, points)).round(4)
        rows.append(pd.DataFrame({"sft_tokens": tokens, "score": score, "seed": f"run {seed}"}))
    return pd.concat(rows).drop(columns=["seed"] * (seeds == 1))


def tables() -> Iterator[tuple[str, str, str]]:
    """Files for `repro fit`, right ones and wrong ones: the paper with its flags, a name, the text."""
    plain, split = losses(""), scores()
    trained, base = plain[plain["tokens"] > 0], "--base-general 4.2 --base-domain 5.1"
    rising = 4.2 + plain["ratio"] * plain["tokens"] ** 0.1
    domains = pd.concat([losses("1M", "2M", ratios=3, far=far).assign(domain=f"d{far:g}") for far in (1, 0.5)])
    frames: list[tuple[str, str, pd.DataFrame]] = [
        (CMR, "plain", plain),
        (f"{CMR} --t-max 8e5 --epsilon 0.03 --lagrange 500", "sizes", losses("1M", "2M", ratios=4)),
        (CMR, "domains", domains),
        (CMR, "seeds", losses("1M", seeds=3, ratios=4)),
        (CMR, "few", losses("", ratios=2, points=6)),
        (CMR, "too few", losses("", points=4)),
        (f"{CMR} {base}", "flags", trained),
        (f"{CMR} {base} --bootstrap 0", "needless", plain.assign(size="<b>&")),
        (f"{CMR} --bootstrap 20", "rising", plain.assign(general_loss=rising)),
        (CMR, "rows", plain.head(0)),
        (f"{ALLOCATION} --predict 25e9 --predict 1e6", "plain", split),
        (ALLOCATION, "fraction", split[["score"]].assign(cpt_fraction=1 - split["sft_tokens"] / 30e9)),
        (f"{ALLOCATION} --predict 35e9", "items", scores(14).assign(n_items=20_000, cpt_fraction=0.5)),
        (ALLOCATION, "half items", split.assign(n_items=1.5, score=split["score"] * 100)),
        (ALLOCATION, "seeds", scores(9, seeds=3)),
        (ALLOCATION, "few", scores(6)),
        (ALLOCATION, "too few", scores(5)),
        (ALLOCATION, "weak", scores(height=0.004)),
        (f"{ALLOCATION} --bootstrap 0", "equal", split.assign(score=0.7)),
    ]
    yield from ((flags, name, frame.to_csv(index=False)) for flags, name, frame in frames)
    sound = {CMR: plain.to_csv(index=False), ALLOCATION: split.to_csv(index=False)}
    yield from ((flags, name, sound[flags].replace(old, new)) for name, (flags, old, new) in WRONG_TABLES.items())
    yield CMR, "empty", ""
    yield CMR, "semicolons", sound[CMR].replace(",", " ; ")


def fits(out: Path) -> None:
    """Fits of files made here: what is printed, JSON, report."""
    for flags, name, text in tables():
        paper, *given = flags.split()
        stem = f"{paper}-{name.replace(' ', '-')}"
        Path(f"{stem}.csv").write_text(text)
        save(out / f"{stem}.csv", text)
        given += ["--json", f"{stem}.json", "--html", f"{stem}.html"]
        save(out / f"{stem}.txt", answer("fit", paper, f"{stem}.csv", "--seed", "0", "--bootstrap", "200", *given))
        for file in (Path(f"{stem}.json"), Path(f"{stem}.html")):
            if file.exists():
                save(out / file.name, readable(file.read_text()))


def pages(out: Path) -> None:
    """What every cell of every notebook shows for the smoke preset, and the text of the book without its charts."""
    made = Path("_build")
    shutil.rmtree(made, ignore_errors=True)
    command = [str(BIN / "repro"), "book", "--preset", "smoke"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    failed = done.returncode != 0
    save(out / "book.txt", f"{done.stdout}[exit status {done.returncode}]\n{done.stderr if failed else ''}")
    for file in (made / "notebooks").glob("*.ipynb"):
        save(out / f"{file.stem}.txt", "".join(shown(json.loads(file.read_text()))))
    for file in (made / "html").rglob("*.html"):
        article = re.search(r"(?s)<article.*</article>", file.read_text())
        if article:
            words = re.sub(r'(?s)<div class="vega-figure".*?</div>', "CHART", article[0])
            save(out / f"{file.stem}.html", readable(words))


def shown(notebook: dict[str, Any]) -> Iterator[str]:
    """The outputs of a notebook's cells, one after the other."""
    for number, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", []):
            name = output.get("name") or output.get("metadata", {}).get("scrapbook", {}).get("name", "")
            told = {kind: output[kind] for kind in ("text", "ename", "evalue") if kind in output}
            for kind, content in sorted((output.get("data", {}) | told).items()):
                text = content if isinstance(content, (str, dict)) else "".join(content)
                text = text if isinstance(text, str) else json.dumps(text, indent=1)
                yield f"=== cell {number} {output['output_type']} {kind} {name}\n{readable(text)}\n"


WRITERS: dict[str, Callable[[Path], None]] = {"keys": keys, "fit": fits, "help": helps, "pages": pages}


def write(out: Path, home: Path | None, parts: list[str]) -> int:
    """Write some parts into `out`, each in a folder of its own; pages in `home`, all else in an empty project."""
    with tempfile.TemporaryDirectory(prefix="same-") as empty:
        for part in parts:
            place = home if home and part == "pages" else Path(empty).resolve() / part
            place.mkdir(parents=True, exist_ok=True)
            for name in LINKED:
                (place / name).unlink(missing_ok=True)
                (place / name).symlink_to(ROOT / name)
            shutil.rmtree(out / part, ignore_errors=True)
            (out / part).mkdir(parents=True)
            os.chdir(place)
            os.environ["REPRO_HOME"] = str(place)
            started = time.monotonic()
            WRITERS[part](out / part)
            print(f"{part}: {time.monotonic() - started:.0f} s", flush=True)
        os.chdir(ROOT)
    return 0


def compare(one: Path, other: Path) -> int:
    """Tell how the parts differ that both folders have; 1 if they do, or there is none."""
    parts = [part for part in WRITERS if (one / part).is_dir() and (other / part).is_dir()]
    names = {file.relative_to(place) for place in (one, other) for part in parts for file in (place / part).iterdir()}
    differing = 0
    for name in sorted(names):
        pair = [one / name, other / name]
        there = [file.read_bytes() if file.exists() else b"" for file in pair]
        if there[0] == there[1] and pair[0].exists() == pair[1].exists():
            continue
        differing += 1
        before, after = (text.decode().splitlines() for text in there)
        lines = list(difflib.unified_diff(before, after, str(pair[0]), str(pair[1]), n=1, lineterm=""))
        print("\n".join(line[:WIDTH] for line in lines[:SHOWN] or [f"{name} is empty, or is not there"]))
        print(f"    and {len(lines) - SHOWN} lines more\n" if len(lines) > SHOWN else "", end="")
    print(f"{', '.join(parts) or 'no part'}: {differing} of {len(names)} files differ")
    return int(differing > 0 or not parts)


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="write what this checkout shows to a folder")
    writing.add_argument("out", type=Path)
    writing.add_argument("--home", type=Path, help="where the runs of the pages are kept")
    writing.add_argument("--parts", default=",".join(WRITERS), help=f"some of {','.join(WRITERS)}")
    comparing = commands.add_parser("compare", help="compare two such folders, in the parts that both have")
    comparing.add_argument("one", type=Path)
    comparing.add_argument("other", type=Path)
    options = parser.parse_args()
    if options.command == "compare":
        return compare(options.one, options.other)
    if not ENVIRONMENT.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ENVIRONMENT)
    return write(options.out.resolve(), options.home and options.home.resolve(), options.parts.split(","))


if __name__ == "__main__":
    sys.exit(main())
