"""Where the project lives on this machine: its parameter files, data wheels, finished runs and built pages."""

import os
from pathlib import Path


def home() -> Path:
    """The project's folder: ``$REPRO_HOME``, or the checkout this package was installed from, or the current folder."""
    if configured := os.environ.get("REPRO_HOME"):
        return Path(configured).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
