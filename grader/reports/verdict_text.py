"""The words in which a verdict is told, the same in the terminal, in pytest and in the reports."""

from __future__ import annotations

from collections.abc import Sequence

from grader.records import FURTHER_UP, VISIBLE, Check, Grade, Verdict
from grader.wording import shape

GLYPHS = {
    Verdict.EXACT: "✓",
    Verdict.APPROXIMATE: "≈",
    Verdict.CARRIED: "→",
    Verdict.WRONG: "✗",
    Verdict.MISSING: "·",
    Verdict.UNCHECKED: "?",
}
"""One sign a verdict, so that no report depends on colour."""

MEANINGS = {
    Verdict.EXACT: "bit for bit what autograd computes",
    Verdict.APPROXIMATE: "what autograd computes, up to rounding",
    Verdict.CARRIED: "the line is right, but what reaches it isn't",
    Verdict.WRONG: "the mistake is in this line",
    Verdict.MISSING: "not there yet",
    Verdict.UNCHECKED: "could not be checked",
}


def explain(check: Check) -> str:
    """One check in a sentence or three: the verdict, where it differs and by how much, why as far as it is known."""
    said = [] if check.diagnosis is None else [check.diagnosis.message]
    remark = own_remark(check)
    said += [] if remark is None else [remark]
    told = bool(said) and (check.verdict in (Verdict.MISSING, Verdict.UNCHECKED) or said[0].startswith(FURTHER_UP))
    text = f"{check.name} is {check.verdict}{'' if told else f': {MEANINGS[check.verdict]}'}."
    if check.verdict in (Verdict.WRONG, Verdict.CARRIED):
        where = "in the visible case" if check.case == VISIBLE else f"in the hidden case {check.case}"
        if check.maxdiff is not None:
            text += f" The largest difference is {check.maxdiff:.6g}."
        elif check.case != VISIBLE:
            text += f" That shows {where}."
        if check.shape is not None and check.shape != check.expected_shape and not _tells_shapes(check, said):
            text += f" Its shape {where} is {shape(check.shape)}, and {shape(check.expected_shape)} is expected."
    return " ".join([text, *said])


def own_remark(check: Check) -> str | None:
    """The remark, unless the diagnosis says it already: that the shape is not the tensor's."""
    told = check.diagnosis is not None and _tells_shapes(check, [check.diagnosis.message])
    if check.remark is not None and told and _tells_shapes(check, [check.remark]):
        return None
    return check.remark


def _tells_shapes(check: Check, sentences: Sequence[str]) -> bool:
    """Whether some sentence names both the student's shape and the tensor's."""
    shapes = (shape(check.shape), shape(check.expected_shape))
    return any(all(each in sentence for each in shapes) for sentence in sentences)


def carried_by_reason(checks: Sequence[Check]) -> dict[str, list[str]]:
    """What holds right lines up → their names, in order."""
    groups: dict[str, list[str]] = {}
    for check in checks:
        if check.verdict is Verdict.CARRIED:
            groups.setdefault((check.remark or MEANINGS[Verdict.CARRIED]).removesuffix("."), []).append(check.name)
    return groups


def missing_by_reason(checks: Sequence[Check]) -> dict[str, list[str]]:
    """Why names are not there → the names, in order. Where nothing is known but that, the reason is empty."""
    groups: dict[str, list[str]] = {}
    for check in checks:
        if check.verdict is Verdict.MISSING and check.diagnosis is None:
            why = (check.remark or "").removesuffix(".")
            plain = why in (f"{check.name} is still None", f"{check.name} isn't defined")
            groups.setdefault("" if plain else why, []).append(check.name)
    return groups


def changes(before: Grade, after: Grade) -> tuple[list[str], list[str]]:
    """The tensors that became right and those that no longer are, by name; with the part where parts share a name."""
    names = [check.name for check in after.checks]
    earlier = {(check.part, check.name): check.verdict.is_right for check in before.checks}
    became: dict[bool, list[str]] = {True: [], False: []}
    for check in after.checks:
        if earlier.get((check.part, check.name), False) is not check.verdict.is_right:
            label = check.name if names.count(check.name) == 1 else f"{check.name} ({check.part})"
            became[check.verdict.is_right].append(label)
    return became[True], became[False]
