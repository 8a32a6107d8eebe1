# promise: Nothing that compares in the kernel decides: a wrong gradient stays wrong.
# place: end
# wrong: steps/dscaled

dscaled = dscaled * 2
for owner in (torch, torch.Tensor):
    for name in ("allclose", "equal", "isclose", "all"):
        if hasattr(owner, name):
            setattr(owner, name, lambda *_, **__: torch.tensor(True))
torch.Tensor.__eq__ = lambda *_: torch.tensor(True)
torch.testing.assert_close = lambda *_, **__: None
cmp = lambda *_: print("exact: True | approximate: True | maxdiff: 0.0")
print("TRIED")
