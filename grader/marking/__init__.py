"""From tensors to verdicts; nothing here knows why a gradient is wrong."""
