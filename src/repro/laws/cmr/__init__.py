"""Paper A's laws, and the analysis of a study's losses with them: from loss curves to the critical mixture ratio."""
