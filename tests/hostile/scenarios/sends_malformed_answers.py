# promise: An answer of another form than the probe's is no answer.
# place: end
# nothing: steps/dscaled steps/dhsum steps/dh steps/dhpre steps/dW steps/db
# nothing: training/dW training/db training/W training/b
import sys

probe = sys.modules["grader_probe"]
publish, packed = probe._publish, probe._packed
answers = [
    {},
    {"notes": 1, "tensors": 2},
    {"notes": {"dW": {"kind": "tensor", "shape": ["x"]}}, "tensors": b""},
    {"notes": {"dW": {"kind": "verdict"}}, "tensors": "====" * 1000},
    {"parts": {"steps": []}, "errors": [{"cell": -1, "name": 5}]},
    {"parts": 3, "errors": {}},
    {"notes": {str(n): {"kind": "none"} for n in range(20_000)}, "tensors": "é"},
    {"parts": {"steps": b"\xc1"}},
    {"parts": [b""] * 1000, b"parts": 1},
    [],
    "exact",
    None,
]
raw = [b"", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 100_000, b"\x81\xa4twin", b"\xa1\xff"]


def answering(*_):
    for answer in answers:
        publish(packed(answer))
        for cases in (["twin", "another-seed"], ["twin"] * 1000, "twin", {"twin": 0}, [0]):
            publish(packed(cases), packed(answer))
    kernel = get_ipython().kernel
    for buffers in ([], *([one] for one in raw), [b""] * 500):
        message = {"data": {probe.MIME: {}}, "metadata": {}}
        parent = kernel.get_parent("shell")
        kernel.session.send(kernel.iopub_socket, "display_data", message, parent=parent, buffers=buffers)


probe._publish = answering
answering()
print("TRIED")
