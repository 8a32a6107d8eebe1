"""A training loop's given lines: how many steps, how fast, which batches."""
