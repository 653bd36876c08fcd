"""The steps of a study as frozen values: what `repro.runs` keeps, done with what `repro.lm` can."""
