"""How far the fits can be trusted: studies of known truth, certified problems, rivals."""
