"""Runs as frozen values, kept in a store of finished folders. Knows no machine learning.

A stage is a frozen value (`spec`): every field is part of its identity (but names for display,
marked as such), and the stages it builds on are fields too. So
its key is a Merkle hash, and no list of dependencies can drift from the code. Where and how fast a stage runs is never
part of it. A finished folder is the only status (`store`): work happens in a ``.part`` folder, a manifest of hashes
seals it, and one rename publishes it with a record of what produced it; `folder` also counts tries and tells which
errors a retry can mend.

`engine` runs what is missing, in this process or on `workers`: of this machine, of a running scheduler, or of jobs of a
`batch` system, which `jobs` keeps in the queue; it also runs finished stages again to compare them, and frees disk
space. `progress` shows how far the study is, and `temporary` makes folders that a killed process does not leave for
good. `workers` and `jobs` are loaded by dask, by name.
"""

from repro.runs.engine import run as run
from repro.runs.spec import Machine as Machine, Stage as Stage, Work as Work
from repro.runs.store import Store as Store
from repro.runs.workers import Local as Local
