# promise: An answer of another form than the probe's is no answer.
# place: end
# nothing: steps/dscaled steps/dhsum steps/dh steps/dhpre steps/dW steps/db
# nothing: training/dW training/db training/W training/b
import sys

probe = sys.modules["grader_probe"]
publish = probe._publish
answers = [
    {},
    {"notes": 1, "tensors": 2},
    {"notes": {"dW": {"kind": "tensor", "shape": ["x"]}}, "tensors": b""},
    {"notes": {"dW": {"kind": "verdict"}}, "tensors": "====" * 1000},
    {"twin": {"parts": {"steps": []}, "errors": [{"cell": -1, "name": 5}]}},
    {"twin": {"parts": 3, "errors": {}}, "another-seed": None},
    {"notes": {str(n): {"kind": "none"} for n in range(20_000)}, "tensors": "é"},
    {"twin": b"\xc1"},
    {"twin": [b""] * 1000, b"twin": 1},
    [],
    "exact",
    None,
]
raw = [b"", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 100_000, b"\x81\xa4twin", b"\xa1\xff"]


def answering(content):
    for answer in answers:
        publish(answer)
    kernel = get_ipython().kernel
    for buffers in ([], *([one] for one in raw), [b""] * 500):
        message = {"data": {probe.MIME: {}}, "metadata": {}}
        parent = kernel.get_parent("shell")
        kernel.session.send(kernel.iopub_socket, "display_data", message, parent=parent, buffers=buffers)


probe._publish = answering
answering({})
print("TRIED")
