"""What a study may be told: one schema for each paper, checked before anything starts.

A preset is a file of `params/` with the names of one paper's schema or of both. A notebook's parameters cell has
those of its paper: it names a preset and may override any name of it, as may papermill (`-p NAME VALUE`).
"""

from repro.params.allocation import AllocationParams, MaterialParams, PairsParams
from repro.params.cmr import Params
from repro.params.reading import (
    NAMES,
    SCHEMAS,
    ParamsError,
    check,
    check_names,
    from_notebook,
    names,
    notebook_cell,
    plain,
    preset_file,
    presets,
    read,
    required,
    schemas_in,
    shown,
    value,
)
from repro.params.sources import SourceParams

__all__ = [
    "NAMES",
    "SCHEMAS",
    "AllocationParams",
    "MaterialParams",
    "PairsParams",
    "Params",
    "ParamsError",
    "SourceParams",
    "check",
    "check_names",
    "from_notebook",
    "names",
    "notebook_cell",
    "plain",
    "preset_file",
    "presets",
    "read",
    "required",
    "schemas_in",
    "shown",
    "value",
]
