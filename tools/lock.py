"""Write requirements.lock from pyproject.toml: exact versions and hashes for every platform, torch's own aside.

torch and the CUDA libraries that only its CUDA build wants are left out: which build is right depends on the
machine, and a hash would allow only one. pyproject.toml pins torch itself, and torch pins its libraries.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = re.compile(r"^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==", re.MULTILINE)


def compiled(*options: str) -> str:
    """What uv resolves pyproject.toml to."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--all-extras", "--universal"]
    command += ["--python-version", "3.11", "--no-annotate", "--no-header", "--quiet", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Resolve twice: once to learn what torch pulls in, once without it and with hashes."""
    left_out = TORCH.findall(compiled())
    options = [option for name in left_out for option in ("--no-emit-package", name)]
    text = compiled("--generate-hashes", *options)
    (ROOT / "requirements.lock").write_text("# Written by `make lock`.\n" + text)


if __name__ == "__main__":
    main()
