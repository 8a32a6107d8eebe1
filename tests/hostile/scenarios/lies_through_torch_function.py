# promise: A tensor's own idea of itself does not count, only its numbers.
# place: end
# wrong: steps/dscaled


class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        if function in (torch.Tensor.allclose, torch.allclose, torch.equal, torch.Tensor.__eq__, torch.Tensor.eq):
            return torch.tensor(True)
        return super().__torch_function__(function, types, arguments, options or {})

    def __eq__(self, other):
        return True

    __hash__ = None


dscaled = (dscaled * 3).as_subclass(Liar)
print("TRIED")
