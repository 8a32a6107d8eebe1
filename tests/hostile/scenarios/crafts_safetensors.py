# promise: Malformed tensors are read as nothing: the reader neither crashes nor believes them.
# place: training
# nothing: training/dW training/db training/W training/b
import itertools
import json
import struct
import sys

probe = sys.modules["grader_probe"]


def packed(header, body=b"", length=None):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + body


one = {"dtype": "F32", "shape": [6, 4], "data_offsets": [0, 96]}
crafted = [
    packed({"dW": one}, b"", 1 << 62),
    packed({"dW": one, "db": one}, bytes(96)),
    packed({"dW": {**one, "data_offsets": [0, 1 << 60]}}, bytes(96)),
    packed({"dW": {**one, "shape": [1 << 40, 1 << 40]}}, bytes(96)),
    packed({"dW": {**one, "dtype": "PICKLE"}}, bytes(96)),
    packed({"dW": {**one, "shape": [-6, -4]}}, bytes(96)),
    packed(b"{" * 100_000),
    b"",
    b"\x80\x04cos\nsystem\n",
]
turns = itertools.cycle(crafted)


def crafting(namespace, part):
    names = [*part["gradients"], *part["values"]]
    notes = {name: {"kind": "tensor", "dtype": "torch.float32", "shape": [6, 4]} for name in names}
    return {"notes": notes, "tensors": next(turns)}


for _ in crafted:
    probe._publish(probe._packed(crafting({}, {"gradients": ["dW"], "values": []})))
probe._export = crafting
print("TRIED")
