"""The steps of a study as frozen values, where `repro.runs` (keeping results) meets `repro.lm` (making them)."""
