"""Nothing of ours can run what it reads: no pickles, no unsafe YAML, no code that a model or data set brings along."""

import ast
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from helpers import ROOT
from repro.runs.batch import Batch, credentials

CANARY = "hf_" + "SingingBird" * 3
NAMES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "WANDB_API_KEY")

UNSAFE = {
    "unpickling": ("import pickle\n\nX = pickle.load(open('x', 'rb'))\n", "S301"),
    "unpickling weights": ("import torch\n\nX = torch.load('x.pt')\n", "TID251"),
    "unpickling weights by another name": ("from torch import load as read\n\nX = read('x.pt')\n", "TID251"),
    "pickling weights": ("import torch\n\ntorch.save({}, 'x.pt')\n", "TID251"),
    "joblib": ("import joblib\n\nX = joblib.load('x')\n", "TID251"),
    "a frame": ("import pandas as pd\n\nX = pd.read_pickle('x')\n", "S301"),
    "eval": ("X = eval('1')\n", "S307"),
    "exec": ("exec('1')\n", "S102"),
    "unsafe YAML": ("import yaml\n\nX = yaml.load('x', Loader=yaml.Loader)\n", "S506"),
    "more unsafe YAML": ("import yaml\n\nX = yaml.unsafe_load('x')\n", "TID251"),
    "a shell": ("import subprocess\n\nsubprocess.run('x', shell=True, check=True)\n", "S602"),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_the_checks_refuse_code_that_reads_unsafely(what: str) -> None:
    source, rule = UNSAFE[what]
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    found = subprocess.run(
        [*command, "--stdin-filename", str(ROOT / "src/repro/lm/x.py"), "-"], input=f'"""X."""\n\n{source}', cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert f" {rule} " in found.stdout, found.stdout


def test_no_code_that_comes_with_a_model_or_data_set_is_trusted() -> None:
    places = [path for folder in ("src", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")]
    trusting = [
        f"{path.relative_to(ROOT)}:{node.value.lineno}"
        for path in places
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code"
        if not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert (len(places) > 100, trusting) == (True, [])


def test_a_job_of_a_batch_system_is_not_given_the_secrets_of_who_submits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    for name in NAMES:
        monkeypatch.setenv(name, CANARY)
    batch = Batch(system="slurm", workers=1, logs=tmp_path, setup=("module load python",))
    with credentials(tmp_path) as tls, closing(batch.open({}, {"OMP_NUM_THREADS": "1"}, tls)) as cluster:
        script = cluster.job_script()
    assert "module load python" in script and "OMP_NUM_THREADS" in script
    assert not [word for word in (CANARY, *NAMES) if word in script]
    assert os.environ["HF_TOKEN"] == CANARY
