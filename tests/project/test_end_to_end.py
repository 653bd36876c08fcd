"""The whole way, as a user goes it: `repro book` on the smoke preset in a home of its own, then read in a browser."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
import pyarrow.parquet
import pytest
import yaml
from playwright.sync_api import Browser
from safetensors import safe_open

from helpers import BIN, ROOT, browser
from repro import cmr, params
from repro.cmr.design import design
from repro.params.values import PREPARING
from repro.runs.spec import closure

NOTEBOOKS = [f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")]
PAGES = [*(path.stem for path in (ROOT / "book").glob("*.md")), *NOTEBOOKS]

# Secrets that whoever runs this may have in the environment; all have one value, which must turn up nowhere.
CANARY = "hf_" + "SingingBird" * 3
SECRETS = dict.fromkeys(
    ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "WANDB_API_KEY", "DB_PASSWORD"),
    CANARY,
)
told: list[str] = []  # all that commands printed

pytestmark = [pytest.mark.ci, pytest.mark.timeout(1200)]


def command(home: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | SECRETS | {"REPRO_HOME": str(home)}
    done = subprocess.run(arguments, env=environment, cwd=cwd or home, capture_output=True, text=True, check=False)
    told.extend([done.stdout, done.stderr])
    return done


def keys(home: Path, *choice: str) -> dict[str, str]:
    """key -> status of all stages."""
    out = home / "runs.json"
    assert command(home, str(BIN / "repro"), "runs", *choice, "--json", str(out)).returncode == 0
    return {row["key"]: row["status"] for row in json.loads(out.read_text())}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the book of the smoke preset built in it."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("notebooks", "params", "book", "results", "_config.yml", "_data"):
        (folder / name).symlink_to(ROOT / name)
    done = command(folder, str(BIN / "repro"), "book", "--preset", "smoke")
    assert done.returncode == 0, done.stderr
    assert (folder / "_build/html/index.html").is_file()
    assert "runs" in done.stderr, "no progress was shown"
    return folder


def test_every_run_is_done(home: Path) -> None:
    assert set(keys(home, "--preset", "smoke").values()) == {"done"}
    done = command(home, str(BIN / "repro"), "train", "--preset", "smoke")
    assert (done.returncode, done.stdout, done.stderr) == (0, "every run is done\n", "")


@pytest.mark.slow
def test_text_and_models_can_be_made_ready_here_whatever_cluster_there_is(tmp_path: Path) -> None:
    for name in ("params", "_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    cluster = {"scheduler": "tcp://127.0.0.1:9", "gpus": 1}  # where nobody answers
    values = yaml.safe_load((ROOT / "params/smoke.yaml").read_text()) | {"device": "cuda", "cluster": cluster}
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(values))
    done = command(tmp_path, str(BIN / "repro"), "train", "--params", str(mine), "--prepare")
    assert (done.returncode, done.stdout) == (0, "text and models are ready\n"), done.stderr
    assert keys(tmp_path, "--preset", "smoke")
    rows = json.loads((tmp_path / "runs.json").read_text())
    kinds = {(Path(row["path"]).name.partition("-")[0], row["status"] == "done") for row in rows}
    assert {kind for kind, ready in kinds if ready} == set(PREPARING) - {"base"}  # smoke's is a model of its own
    assert not {kind for kind, ready in kinds if not ready} & set(PREPARING)


def test_again_does_nothing(home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home / "_build").rglob("*") if path.is_file()}
    done = command(home, str(BIN / "repro"), "book", "--preset", "smoke")
    assert done.returncode == 0
    assert done.stdout.count("up to date") == len(NOTEBOOKS) + 1
    assert before == {path: path.stat().st_mtime_ns for path in (home / "_build").rglob("*") if path.is_file()}


def test_one_more_ratio_trains_only_its_own_runs(home: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump(values | {"preset": "more", "ratios": [*values["ratios"], "2/3"]}))
    missing = [key for key, status in keys(home, "--params", str(more)).items() if status != "done"]
    assert len(missing) == len(values["models"]) + len(values["learning_rates"])  # these at the smallest size
    notebook = home / "notebooks/cmr-6-critical.ipynb"
    done = command(home, str(BIN / "repro"), "run", str(notebook), "--params", str(more))
    assert done.returncode == 0, done.stderr
    everything = len(closure(list(design(params.check(params.read(more))).stages)))  # of the study of this notebook
    assert f"{everything - len(missing)} of {everything} runs" in done.stderr
    assert f"{everything} of {everything} runs" in done.stderr
    assert set(keys(home, "--params", str(more)).values()) == {"done"}


def test_plain_papermill(home: Path, tmp_path: Path) -> None:
    notebook, out = ROOT / "notebooks/cmr-3-tradeoff.ipynb", tmp_path / "out.ipynb"
    papermill = [str(BIN / "papermill"), str(notebook), str(out), "-f", str(ROOT / "params/smoke.yaml")]
    done = command(home, *papermill, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    code = [cell for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "code"]
    assert any("application/json" in str(cell.outputs) for cell in code), "no chart"
    misspelt = command(home, *papermill, "-p", "raitos", "1", cwd=tmp_path)
    assert misspelt.returncode != 0
    assert (
        "ParamsError: 'raitos': unknown parameter; did you mean ratios? allowed are preset, general" in misspelt.stderr
    )


def test_pages_show_this_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", str(home))
    study = cmr.open_study(params.check(params.read(params.preset_file("smoke"))))
    losses = study.pretraining().groupby(["size", "seed"])["general_loss"].last()
    page = (home / "_build/html/notebooks/cmr-2-pretraining.html").read_text()
    assert all(f"{loss:.3f}" in page for loss in losses)
    assert "seconds of computing" in page


@pytest.mark.parametrize("width", browser.WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole_for_everybody_with_the_network_cut(home: Path, chromium: Browser, page: str, width: int) -> None:
    with browser.visit(chromium, home / "_build/html" / f"{page}.html", width=width) as seen:
        for theme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=theme)
            seen.page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
            seen.page.wait_for_function("document.getAnimations().length === 0")  # colours that are still on their way
            assert browser.barriers(seen.page) == [], theme
        assert browser.overflow(seen.page) <= 0
        assert browser.weight(seen) < browser.HEAVIEST
        assert (seen.outside, seen.errors) == ([], [])


def test_every_figure_and_table_has_its_numbers_and_its_code_beside_it(home: Path) -> None:
    site = home / "_build/html"
    for page in NOTEBOOKS:
        for figure in re.findall(r"(?s)<figure.*?</figure>", (site / f"{page}.html").read_text()):
            beside = figure.split('class="sources"')[1].split("</span>")[0]
            links = re.findall(r'href="([^"#]+)[^"]*"', beside)
            assert len(links) == 2, figure[:300]
            assert all((site / page).parent.joinpath(link).resolve().is_file() for link in links), links


def test_a_broken_notebook_fails_and_keeps_the_good_page(home: Path, tmp_path: Path) -> None:
    good = home / "_build/notebooks/cmr-4-ratio.ipynb"
    kept = good.read_bytes()
    broken = nbformat.read(ROOT / "notebooks/cmr-4-ratio.ipynb", as_version=4)
    broken.cells.append(nbformat.v4.new_code_cell("study.nothing()"))
    notebook = tmp_path / "cmr-4-ratio.ipynb"
    nbformat.write(broken, notebook)
    done = command(home, str(BIN / "repro"), "run", str(notebook), "--preset", "smoke")
    assert done.returncode == 1
    assert "AttributeError" in done.stderr
    assert good.read_bytes() == kept
    shutil.rmtree(tmp_path)


def contents(file: Path) -> bytes:
    """The bytes of a file, and behind them the plain values of what packs them."""
    data = file.read_bytes()
    if file.suffix == ".parquet":
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        data += str(table.schema.metadata).encode() + table.to_pandas().to_csv().encode()
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data += b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    return data


def files(folder: Path) -> list[Path]:
    """Every file that was made here; what the project has is linked."""
    return [
        Path(root) / name
        for root, _, names in os.walk(folder)
        for name in names
        if not (Path(root) / name).is_symlink()
    ]


def test_secrets_of_the_environment_are_written_nowhere(home: Path) -> None:
    """After everything above: pages, notebooks (a failed one with its traceback), manifests, records, logs, output."""
    made = files(home)
    suffixes = {file.suffix for file in made}
    assert {".ipynb", ".html", ".json", ".parquet", ".safetensors", ".txt"} <= suffixes
    assert [file for file in made if file.name.endswith(".failed.ipynb")], "the notebook that failed was not kept"
    assert [str(file) for file in made if CANARY.encode() in contents(file)] == []
    assert len(told) > 5
    assert [text for text in told if CANARY in text] == []


def test_weights_are_safetensors_and_nothing_is_a_pickle(home: Path) -> None:
    made = files(home / "_runs")
    pickled = [
        str(file)
        for file in made
        for data in [contents(file)]
        if (data[:1] == b"\x80" and data[1:2] in b"\2\3\4\5" and data.endswith(b".")) or b"data.pkl" in data
    ]
    assert pickled == []
    assert not {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npz"} & {file.suffix for file in made}
    weights = [file for file in made if file.suffix == ".safetensors"]
    assert len(weights) > 20
    for file in weights:
        with safe_open(file, "pt") as stored:
            assert len(list(stored.keys())) > 0


def test_no_page_names_a_folder_of_this_machine(home: Path) -> None:
    """Neither its text, nor the notebooks that can be downloaded."""
    folders = {str(folder) for folder in (home, ROOT, Path.home(), sys.prefix)} | {f"{tempfile.gettempdir()}/"}
    site = files(home / "_build/html")
    assert len([file for file in site if file.suffix == ".ipynb"]) == len(NOTEBOOKS)
    assert [str(file) for file in site if any(folder.encode() in file.read_bytes() for folder in folders)] == []
