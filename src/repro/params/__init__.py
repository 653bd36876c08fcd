"""What a study may be told: one schema for each paper, checked before anything starts.

A preset is a file of `params/` with the names of one paper's schema or of both. A notebook's parameters cell names a
preset and the parameters that its page is about; papermill may set any name of the schema (`-p NAME VALUE`).
"""

from repro.params.allocation import (
    AllocationParams as AllocationParams,
    MaterialParams as MaterialParams,
    PairsParams as PairsParams,
)
from repro.params.cmr import Params as Params
from repro.params.reading import (
    PAPERS as PAPERS,
    SCHEMAS as SCHEMAS,
    ParamsError as ParamsError,
    assigned as assigned,
    check as check,
    from_notebook as from_notebook,
    names as names,
    notebook_cell as notebook_cell,
    plain as plain,
    preset_file as preset_file,
    presets as presets,
    read as read,
    required as required,
    schemas_in as schemas_in,
    shown as shown,
    value as value,
)
from repro.params.values import Section as Section, SourceParams as SourceParams
