"""A reproducible companion to two papers on spending a fixed token budget when adapting a language model."""
