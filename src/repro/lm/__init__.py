"""Text, tokens, models, training and scoring. Knows nothing of runs, stores or studies."""
