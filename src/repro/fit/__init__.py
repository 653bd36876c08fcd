"""`repro fit`: the papers' laws on a reader's own losses or scores. It knows only the laws and how things look."""

DRAWS = 1000  # of the bootstrap, unless told otherwise
