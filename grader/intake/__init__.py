"""From a notebook's bytes to the cells that are run."""
