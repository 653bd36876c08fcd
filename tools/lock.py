"""Write the lock files from pyproject.toml: an exact version and hashes of everything that is installed or builds it.

| file | what it holds |
|---|---|
| requirements.lock | what the package and its extras need, for every platform |
| requirements-cuda.lock | the libraries that torch's CUDA build needs besides, and no other build of torch |
| requirements-build.lock | what builds this package, and those of requirements.lock that have no wheel |
| requirements-audit.lock | what `make audit` runs |

What is locked already stays as it is while pyproject.toml allows it; delete a lock file to get the newest. torch's
hashes are those of two builds: the usual index's, and for Linux the smaller one of PyTorch's CPU index, which
torch-cpu.lock lists by the names of its wheels. That file is renewed from there when pyproject.toml pins another torch.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
CPU_WHEEL = re.compile(r'(torch-[^"/>#]+?-manylinux[^"/>#]+?\.whl)#sha256=([0-9a-f]{64})"')
CUDA = re.compile(r"(triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)(\[[a-z,]+\])?==")
BUILDS_SDISTS = "setuptools"
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def resolved(requirements: str, locked: str, *options: str) -> list[str]:
    """What uv resolves requirements (one a line) to, an entry a package, keeping the versions that are locked."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output.txt"
        output.write_text(locked)
        command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-annotate", "--no-header", "--quiet", "--output-file", str(output)]
        subprocess.run([*command, *options], cwd=ROOT, input=requirements, text=True, check=True, stdout=sys.stderr)
        return re.findall(r"^\S.*(?:\n\s+.*)*\n", output.read_text(), re.MULTILINE)


def cpu_wheels(listing: str, index: str, version: str) -> dict[str, str]:
    """The hash of each Linux wheel of this version, by name, as a listing has them or, where it has none, the index."""
    wheels = {name: digest for digest, name in (line.split() for line in listing.splitlines())}
    if not any(name.startswith(f"torch-{version}+cpu-") for name in wheels):
        with urllib.request.urlopen(index) as page:
            links = CPU_WHEEL.findall(urllib.parse.unquote(page.read().decode()))
        wheels = {name: digest for name, digest in links if name.startswith(f"torch-{version}+cpu-")}
    if not wheels:
        raise SystemExit(f"{index} lists no CPU build of torch {version}")
    return dict(sorted(wheels.items()))


def with_hashes(entry: str, more: list[str]) -> str:
    """An entry of a lock file that allows these hashes too."""
    requirement = re.split(r" \\\n", entry)[0].rstrip()
    hashes = sorted({*HASH.findall(entry), *(f"--hash=sha256:{digest}" for digest in more)})
    return " \\\n    ".join([requirement, *hashes]) + "\n"


def write(name: str, entries: list[str]) -> None:
    """Write a lock file of the project."""
    (ROOT / name).write_text("# Written by `make lock`.\n" + "".join(entries))


def main() -> None:
    """Resolve what is used, what builds it and what audits it, and write a file for each."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    used = [*project["project"]["dependencies"], *(line for extra in extras.values() for line in extra)]
    files = sorted(ROOT.glob("requirements*.lock"))
    old = {path.name: path.read_text() for path in files}

    entries = resolved("\n".join(used), old.get("requirements.lock", "") + old.get("requirements-cuda.lock", ""))
    version = next(line.removeprefix("torch==") for line in used if line.startswith("torch=="))
    listing = ROOT / "torch-cpu.lock"
    wheels = cpu_wheels(listing.read_text(), CPU_INDEX, version)
    listing.write_text("".join(f"{digest}  {name}\n" for name, digest in wheels.items()))
    entries = [with_hashes(entry, [*wheels.values()]) if entry.startswith("torch==") else entry for entry in entries]
    write("requirements-cuda.lock", [entry for entry in entries if CUDA.match(entry)])
    write("requirements.lock", [entry for entry in entries if not CUDA.match(entry)])

    same = ("--constraints", str(ROOT / "requirements.lock"))
    build = [*project["build-system"]["requires"], BUILDS_SDISTS]
    write("requirements-build.lock", resolved("\n".join(build), old.get("requirements-build.lock", ""), *same))
    audit = project["dependency-groups"]["audit"]
    write("requirements-audit.lock", resolved("\n".join(audit), old.get("requirements-audit.lock", "")))


if __name__ == "__main__":
    main()
