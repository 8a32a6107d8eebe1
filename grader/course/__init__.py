"""The course: its catalogue, its exercises, and autograd's reference for each."""
