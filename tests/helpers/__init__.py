"""What tests of several rooms share; this file: where things are."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"  # on the path of processes that import `helpers`
BIN = Path(sys.executable).parent
REPRO = str(BIN / "repro")
