"""Whether autograd computed a student's numbers: what the source says, and what a scaled run says."""
