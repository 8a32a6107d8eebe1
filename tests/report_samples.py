"""Invented gradings for the report's tests: every verdict, the lecture's graph, and names as hostile as they come."""

from __future__ import annotations

import base64
import functools
import math
import random
import struct
import zlib

from grader.records import (
    CellOutput,
    CellView,
    Check,
    CmpLine,
    Diagnosis,
    Evidence,
    Flag,
    Grade,
    Grading,
    GraphNode,
    HeatMap,
    PartView,
    Verdict,
)
from grader.reports.cohort_page import CohortRow

SCRIPT = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
HOSTILE_NAMES = [
    f'"><script>document.title = "owned"</script>{"x" * 258}',
    "../../etc/passwd",
    "javascript:alert(1)",
    "//elsewhere.example/x?y#z",
    'O\'Neil & "Sons"',
    "abc\u202egpj.exe",
    "שלום עולם",
    "undecodable \udcff name",
    "née Müller 100% {{ 7 * 7 }}",
]
PART = "every-gradient"
SHAPES: dict[str, list[int]] = {
    "logprobs": [32, 27],
    "probs": [32, 27],
    "counts_sum_inv": [32, 1],
    "counts_sum": [32, 1],
    "counts": [32, 27],
    "norm_logits": [32, 27],
    "logit_maxes": [32, 1],
    "logits": [32, 27],
    "h": [32, 64],
    "W2": [64, 27],
    "b2": [27],
    "hpreact": [32, 64],
    "bngain": [1, 64],
    "bnbias": [1, 64],
    "bnraw": [32, 64],
    "bnvar_inv": [1, 64],
    "bnvar": [1, 64],
    "bndiff2": [32, 64],
    "bndiff": [32, 64],
    "bnmeani": [1, 64],
    "hprebn": [32, 64],
    "embcat": [32, 30],
    "W1": [30, 64],
    "b1": [64],
    "emb": [32, 3, 10],
    "C": [27, 10],
}
INPUTS: dict[str, list[str]] = {
    "emb": ["C"],
    "embcat": ["emb"],
    "hprebn": ["embcat", "W1", "b1"],
    "bnmeani": ["hprebn"],
    "bndiff": ["hprebn", "bnmeani"],
    "bndiff2": ["bndiff"],
    "bnvar": ["bndiff2"],
    "bnvar_inv": ["bnvar"],
    "bnraw": ["bndiff", "bnvar_inv"],
    "hpreact": ["bngain", "bnraw", "bnbias"],
    "h": ["hpreact"],
    "logits": ["h", "W2", "b2"],
    "logit_maxes": ["logits"],
    "norm_logits": ["logits", "logit_maxes"],
    "counts": ["norm_logits"],
    "counts_sum": ["counts"],
    "counts_sum_inv": ["counts_sum"],
    "probs": ["counts", "counts_sum_inv"],
    "logprobs": ["probs"],
    "loss": ["logprobs"],
}
FIRST_WRONG = "dcounts_sum_inv"
VERDICTS = {
    "dlogprobs": Verdict.EXACT,
    "dprobs": Verdict.APPROXIMATE,
    FIRST_WRONG: Verdict.WRONG,
    "dbnvar": Verdict.WRONG,
    "dbnmeani": Verdict.MISSING,
    "demb": Verdict.MISSING,
    "dC": Verdict.UNCHECKED,
    "dW2": Verdict.EXACT,
    "db2": Verdict.EXACT,
}
HIDDEN_NUMBER = 0.123456789
SOURCE = [
    "dlogprobs = torch.zeros_like(logprobs)",
    "dlogprobs[range(n), Yb] = -1.0 / n",
    "dprobs = (1.0 / probs) * dlogprobs",
    "dcounts_sum_inv = -(counts * dprobs).sum(1, keepdim=True)",
    "dcounts = counts_sum_inv * dprobs",
    "dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv",
    "dcounts += torch.ones_like(counts) * dcounts_sum",
    "",
    "# a comment that goes on and on, as the comments of students who explain their work to themselves so often do",
    "dbnvar = -0.5 * (bnvar + 1e-5) ** -1.5 * dbnvar_inv.sum(0, keepdim=True).expand_as(bnvar_inv).contiguous() * 2.0",
]
TRACEBACK = "\n".join(
    ["-" * 75, "RuntimeError                              Traceback (most recent call last)"]
    + [
        f"File <ipython-input-{k}>:{k}, in helper_{k}(upstream)\n----> {k}     return x @ {SCRIPT}"
        for k in range(1, 15)
    ]
    + ["RuntimeError: The size of tensor a (64) must match the size of tensor b (32) at non-singleton dimension 1"]
)


def png(width: int = 160, height: int = 60) -> str:
    """A valid picture, as base64."""
    row = b"\x00" + b"".join(bytes((x * 255 // width, 90, 128)) for x in range(width))
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(row * height)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return base64.b64encode(data).decode()


def lecture_graph() -> list[GraphNode]:
    """The lecture's network, 26 tensors and the loss."""

    def rank(name: str) -> int:
        return 1 + max((rank(each) for each in INPUTS.get(name, [])), default=-1)

    names = [*reversed(SHAPES), "loss"]
    return [
        GraphNode(name=name, shape=SHAPES.get(name, []), inputs=INPUTS.get(name, []), rank=rank(name)) for name in names
    ]


def heat_map(shape: list[int], seed: int, peak: float = 0.0) -> HeatMap:
    """Values with some structure, at most 32 × 32."""
    rows = min(math.prod(shape[:-1]), 32) if len(shape) > 1 else 1
    columns = min(shape[-1], 32)
    values = [list(row) for row in _structure(rows, columns, seed)]
    if peak:
        values[rows // 2][columns // 3] = peak
    return HeatMap(values=values, scale=max(abs(value) for row in values for value in row))


@functools.cache
def _structure(rows: int, columns: int, seed: int) -> list[list[float]]:
    rng = random.Random(seed)
    return [[rng.gauss(0, 0.02) * (1 + (r * c) % 5) for c in range(columns)] for r in range(rows)]


def sample_grading(student: str = "alice") -> Grading:
    """Two parts, all verdicts, hostile outputs, flags and notes."""
    checks, evidence = [], []
    for seed, (name, shape) in enumerate(SHAPES.items()):
        check = _check(f"d{name}", shape)
        checks.append(check)
        evidence.append(_evidence(check, seed, shape))
    checks.append(
        Check(
            part="cross-entropy",
            name="dlogits",
            verdict=Verdict.WRONG,
            points=0.5,
            max_points=1.0,
            case="another-batch-size",
            maxdiff=HIDDEN_NUMBER,
            shape=[32, 27],
            expected_shape=[19, 27],
            diagnosis=Diagnosis(code="hard-coded-size", message="The number 32 stands where the batch size should."),
        )
    )
    evidence.append(
        Evidence(part="cross-entropy", name="dlogits", cmp=CmpLine(exact=False, approximate=True, maxdiff=6.5e-9))
    )
    grade = Grade(
        student=student,
        exercise="01_backprop_ninja",
        status="graded",
        score=sum(check.points for check in checks),
        max_score=27.0,
        checks=checks,
        cpu_seconds=0.21,
        wall_seconds=0.48,
        flags=[Flag(code="autograd-used", message="Line 3 reads `logits.grad`, which autograd computed.", part=PART)],
    )
    return Grading(
        grade=grade,
        title="Becoming a backprop ninja",
        parts=[
            PartView(id=PART, title="Every gradient by hand", graph=lecture_graph(), notes=["One cell was empty."]),
            PartView(id="cross-entropy", title="Cross-entropy in one expression", graph=[]),
        ],
        cells=_cells(),
        evidence=evidence,
        notes=["A locked cell had been changed and was restored.", "The cell “compare-2” was missing."],
    )


def _check(name: str, shape: list[int]) -> Check:
    verdict = VERDICTS.get(name, Verdict.CARRIED)
    diagnosis, remark, found = None, None, list(shape)
    if name == FIRST_WRONG:
        diagnosis = Diagnosis(
            code="sign-flipped",
            message="Every value has the opposite sign: look at the minus. It stands in front of `(counts * dprobs)`.",
        )
    if name == "demb":
        found, remark = None, "The name is bound to a list, not to a tensor."
    if name == "dbnmeani":
        found = None
    if name == "dC":
        found, remark = None, "The cell was stopped after 20 seconds, so this could not be checked."
    if name == "db1":
        found, remark = [1, 64], "It has the shape (1, 64) and broadcasts to that of its tensor, (64,)."
    points = 1.0 if verdict.is_right or verdict is Verdict.CARRIED else 0.0
    return Check(
        part=PART,
        name=name,
        verdict=verdict,
        points=points,
        max_points=1.0,
        shape=found,
        expected_shape=list(shape),
        diagnosis=diagnosis,
        remark=remark,
    )


def _evidence(check: Check, seed: int, shape: list[int]) -> Evidence:
    if check.shape is None:
        return Evidence(part=PART, name=check.name)
    lines = {line.split(" ")[0]: number for number, line in reversed(list(enumerate(SOURCE, start=1))) if line}
    right = check.verdict.is_right
    maxdiff = {Verdict.EXACT: 0.0, Verdict.APPROXIMATE: 1.862645149230957e-09}.get(
        check.verdict, 0.013579753 * (seed + 1)
    )
    expected = heat_map(shape, seed)
    flipped = HeatMap(values=[[-value for value in row] for row in expected.values], scale=expected.scale)
    twice = HeatMap(values=[[-2 * value for value in row] for row in expected.values], scale=2 * expected.scale)
    slip = check.name == FIRST_WRONG
    return Evidence(
        part=PART,
        name=check.name,
        cmp=CmpLine(exact=check.verdict is Verdict.EXACT, approximate=right, maxdiff=maxdiff),
        cell=1 if check.name in lines else None,
        line=lines.get(check.name),
        worst_index=None if right else [16, 9][-len(shape) :],
        student=None if right else flipped if slip else heat_map(shape, seed, 0.3),
        expected=None if right else expected,
        difference=None if right else twice if slip else heat_map(shape, seed + 100, 0.3),
    )


def _cells() -> list[CellView]:
    picture = CellOutput(kind="image", content=png())
    forged = CellOutput(kind="image", content=base64.b64encode(b"<svg onload=alert(1)>").decode())
    return [
        CellView(source="import torch\n", part=None, outputs=[]),
        CellView(source="\n".join(SOURCE), part=PART, seconds=0.02, outputs=[CellOutput(kind="text", content=SCRIPT)]),
        CellView(source="", part=PART, outputs=[CellOutput(kind="text", content="logprobs | exact: True \n" * 3)]),
        CellView(source=f"emb = {SCRIPT!r}", part=PART, outputs=[CellOutput(kind="error", content=TRACEBACK)]),
        CellView(source="dlogits = probs / 32", part="cross-entropy", outputs=[picture, forged]),
    ]


def perfect_grading() -> Grading:
    """Everything right."""
    checks = [
        Check(
            part=PART,
            name=f"d{name}",
            verdict=Verdict.EXACT,
            points=1.0,
            max_points=1.0,
            shape=shape,
            expected_shape=shape,
        )
        for name, shape in SHAPES.items()
    ]
    grade = Grade(
        student="bob",
        exercise="01_backprop_ninja",
        status="graded",
        score=26.0,
        max_score=26.0,
        checks=checks,
        flags=[],
        cpu_seconds=0.2,
        wall_seconds=0.5,
    )
    part = PartView(id=PART, title="Every gradient by hand", graph=lecture_graph())
    return Grading(grade=grade, title="Becoming a backprop ninja", parts=[part], cells=[], evidence=[])


def ungradable_grading() -> Grading:
    """A notebook that nobody could read."""
    grade = Grade(
        student="carol",
        exercise="01_backprop_ninja",
        status="ungradable",
        score=0.0,
        max_score=26.0,
        reason="The file isn't JSON: hand in the notebook itself.",
        checks=[],
        flags=[],
        cpu_seconds=0.0,
        wall_seconds=0.0,
    )
    return Grading(grade=grade, title="Becoming a backprop ninja", parts=[], cells=[], evidence=[])


def sample_cohort(size: int = 40) -> list[CohortRow]:
    """`size` invented students, the hostile names first, one of them ungradable."""
    rng = random.Random(7)
    rows = [CohortRow(grade=ungradable_grading().grade, path="carol/01_backprop_ninja.html")]
    for number in range(size):
        student = HOSTILE_NAMES[number] if number < len(HOSTILE_NAMES) else f"student {number}"
        rows.append(CohortRow(grade=_cohort_grade(student, rng), path=f"{student}/01_backprop_ninja.html"))
    return rows


def _cohort_grade(student: str, rng: random.Random) -> Grade:
    slip = rng.randrange(40)
    checks = []
    for index, (name, shape) in enumerate(SHAPES.items()):
        verdict, diagnosis = Verdict.EXACT, None
        if index == slip or rng.random() < (0.25 if name in ("bndiff", "bnvar") else 0.02):
            verdict = rng.choice([Verdict.WRONG, Verdict.WRONG, Verdict.MISSING])
            if verdict is Verdict.WRONG:
                code = rng.choice(["sign-flipped", "sum-missing", "path-missing", "overwritten-branch"])
                diagnosis = Diagnosis(code=code, message="An invented message.")
        elif index > slip:
            verdict = Verdict.CARRIED
        points = 1.0 if verdict in (Verdict.EXACT, Verdict.CARRIED) else 0.0
        checks.append(
            Check(
                part=PART,
                name=f"d{name}",
                verdict=verdict,
                points=points,
                max_points=1.0,
                shape=shape,
                expected_shape=shape,
                diagnosis=diagnosis,
            )
        )
    flags = [Flag(code="autograd-used", message=f"A {SCRIPT} flag.")] if rng.random() < 0.15 else []
    return Grade(
        student=student,
        exercise="01_backprop_ninja",
        status="graded",
        score=sum(check.points for check in checks),
        max_score=26.0,
        checks=checks,
        flags=flags,
        cpu_seconds=0.2,
        wall_seconds=0.5,
    )
