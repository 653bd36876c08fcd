"""Runs as frozen values, kept in a store of finished folders; knows no machine learning.

Every field of a stage (`spec`) is part of its identity, but for names for display, and the stages it builds on are
fields too: its key is a Merkle hash, and no list of dependencies can drift from the code. Where and how fast it runs is
no part of it. A finished folder is the only status (`store`): work happens in a ``.part`` folder, a manifest of hashes
seals it (`folder`), and one rename publishes it with a record of what produced it.

`engine` runs what is missing, in this process or on `workers`: of this machine, of a running scheduler, or of jobs of a
`batch` system, which `jobs` keeps in the queue. dask loads `workers` and `jobs` by name.
"""

from repro.runs.engine import run as run
from repro.runs.spec import Machine as Machine, Stage as Stage, Work as Work
from repro.runs.store import Store as Store
from repro.runs.workers import Local as Local
