"""From cells to tensors: the steps of a run, nbclient, and what comes out of the kernels."""
