"""How results are shown: the style of charts and tables, words, notebook output, the note that ends a page."""
