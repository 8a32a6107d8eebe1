"""A student at work: workspace, check, watch, hints, and the notebook's magics."""
