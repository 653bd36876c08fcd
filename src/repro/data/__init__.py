"""Where text comes from: sources, packages, corpora, and domains with their pairs and questions."""
