"""What a study may be told: one schema for every preset, checked before anything starts.

A preset is a file of `params/`. A notebook's parameters cell names a preset and may override any name of it, as may
papermill (`-p NAME VALUE`).
"""

from repro.params.notebook import from_notebook, notebook_cell
from repro.params.reading import ParamsError, check, preset_file, presets, read
from repro.params.schema import NAMES, REQUIRED, Params, SourceParams

__all__ = [
    "NAMES",
    "REQUIRED",
    "Params",
    "ParamsError",
    "SourceParams",
    "check",
    "from_notebook",
    "notebook_cell",
    "preset_file",
    "presets",
    "read",
]
