"""A student's line as a formula that can be computed again on different tensors."""
