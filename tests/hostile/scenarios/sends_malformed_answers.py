# promise: An answer of another form than the probe's is no answer.
# place: end
# nothing: steps/dscaled steps/dhsum steps/dh steps/dhpre steps/dW steps/db
# nothing: training/dW training/db training/W training/b
import itertools
import sys

probe = sys.modules["grader_probe"]
publish = probe._publish
answers = [
    {},
    {"notes": 1, "tensors": 2},
    {"notes": {"dW": {"kind": "tensor", "shape": ["x"]}}, "tensors": ""},
    {"notes": {"dW": {"kind": "verdict"}}, "tensors": "====" * 1000},
    {"twin": {"parts": {"steps": []}, "errors": [{"cell": -1, "name": 5}]}},
    {"twin": {"parts": 3, "errors": {}}, "another-seed": None},
    {"notes": {str(n): {"kind": "none"} for n in range(20_000)}, "tensors": "é"},
    [],
    "exact",
    None,
]
turns = itertools.cycle(answers)


def answering(content):
    from IPython.display import display

    for answer in answers:
        display({probe.MIME: answer}, raw=True)


probe._publish = answering
for answer in answers:
    display({probe.MIME: answer}, raw=True)
print("TRIED")
