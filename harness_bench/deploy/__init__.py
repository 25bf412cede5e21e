"""Small models out: exported graphs, int8, and running them without torch."""
