"""One submission put together, and many: warm graders, pytest items, workers."""
