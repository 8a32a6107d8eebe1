"""Lists of gradients, one element for each step in time: each line is judged at every step, whatever the others are.

On exercise 08, without a kernel.
"""

from __future__ import annotations

import pytest
import torch

from grader.course.graph import backward_pass
from grader.course.part_reference import PartReference
from grader.kernels.probe import grader_detached
from tests.slips import bench
from tests.workbench import checks_of

EXERCISE = "08_through_time"
DLOGITS = "(F.softmax(logits[t], 1) - F.one_hot(Yb[:, t], vocab_size)) / (n * T)"
DH = "dh[t] = dlogits[t] @ Why.T + (dhpre[t + 1] @ Whh.T if t + 1 < T else 0)"
DHPRE = "dhpre[t] = (1 - h[t]**2) * dh[t]"


def marked(part, cell, *changes, whole=None):
    """The part's checks, after changes to one cell of the solution."""
    source = whole or bench(EXERCISE).solution[cell]
    for old, new in changes:
        assert source.count(old) == 1
        source = source.replace(old, new)
    marks, _, _ = bench(EXERCISE).mark(part, {**bench(EXERCISE).solution, cell: source})
    return checks_of(marks)


def wrong(checks):
    return {name: str(check.verdict) for name, check in checks.items() if check.points < check.max_points}


def test_the_solution_is_right_and_a_list_has_the_steps_as_its_first_dimension():
    checks = marked("rnn", "rnn-states")
    assert {check.verdict.is_right for check in checks.values()} == {True}
    assert checks["dh"].shape == checks["dh"].expected_shape == [7, 10, 12]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (DHPRE, "dhpre[t] = -(1 - h[t]**2) * dh[t]", {"dhpre": "wrong"}),
        (DH, "dh[t] = dlogits[t] @ Why.T", {"dh": "wrong"}),
        ("dhpre[t + 1] @ Whh.T", "dhpre[t + 1] @ Whh", {"dh": "wrong"}),
        ("/ (n * T)", "/ n", {"dlogits": "wrong"}),
        (DH, "dh[t] = None", {"dh": "missing"}),
        (DH, "dh[t] = dlogits[t] @ Why", {"dh": "missing"}),
        (DH, "pass", {"dh": "missing"}),
        (DH, "dh[t] = float('nan') * h[t]", {"dh": "wrong"}),
    ],
)
def test_a_slip_at_every_step_is_charged_once_and_all_that_starts_from_it_is_carried(old, new, found):
    assert wrong(marked("rnn", "rnn-states", (old, new))) == found


def test_a_line_that_is_wrong_at_one_step_says_at_which():
    checks = marked("rnn", "rnn-states", ("else 0", "else 1"))
    assert wrong(checks) == {"dh": "wrong"}
    assert checks["dh"].remark == "It is wrong at dh[6]; elsewhere in the list the line is right."


CELL = "        self.dbh = self.dbh + dpre.sum(0)"


@pytest.mark.parametrize(
    ("part", "cell", "old", "new", "name", "code", "said"),
    [
        ("rnn", "rnn-states", "(1 - h[t]**2) *", "(1 - h[t]) *", "dhpre", "wrong-power", "`h[t]`"),
        ("rnn", "rnn-states", "dhpre[t + 1] @ Whh.T", "dhpre[t + 1] @ Whh", "dh", "operand-transposed", "`Whh`"),
        ("rnn", "rnn-states", "dhpre[t + 1] @", "dh[t + 1] @", "dh", "wrong-neighbour", "`dh` where `dhpre` belongs"),
        ("rnn", "rnn-states", "F.softmax(logits[t], 1)", "0", "dlogits", "term-missing", "`logits[t]`"),
        ("rnn", "rnn-weights", "before[t].T", "h[t].T", "dWhh", "wrong-neighbour", "`h`"),
        ("truncation", "truncation-gradients", " @ Whh.T if t", " @ Whh if t", "dh", "operand-transposed", "`Whh`"),
        ("lstm", "lstm-states", "f[t + 1] *", "f[t] *", "dc", "wrong-neighbour", "`f[t]`: the one of another step"),
        ("lstm", "lstm-states", " + (f[t + 1] * dc[t + 1] if t + 1 < T else 0)", "", "dc", "path-missing", "of `c` to"),
        ("lstm", "lstm-states", "o[t] * (1 - o[t]) * do", "o[t] * do", "dz", "factor-missing", "`1 - o[t]`"),
        ("lstm", "lstm-states", "f[t] * (1 - f[t]) * df", "f[t] * (1 - df[t]) * df", "dz", "wrong-neighbour", "`df`"),
        ("cell", "cell-class", CELL, "        self.dbh = dpre.sum(0)", "dbh", "only-one-path", "first step"),
        ("cell", "cell-class", CELL, f"{CELL} * 2", "dbh", "constant-factor", ""),
        ("cell", "cell-class", CELL, f"{CELL}\n        self.dbh = self.dbh / n", "dbh", "constant-factor", "`1/n`"),
        ("cell", "cell-class", "(1 - new**2) * dnew", "dnew", "dx", "local-derivative-missing", "`h` is a tanh"),
        ("cell", "cell-class", "(1 - new**2) * dnew", "(1 - new) * dnew", "dWhh", "wrong-power", "`1 - h`"),
    ],
)
def test_a_slip_in_a_list_is_found_in_the_line_for_its_elements(part, cell, old, new, name, code, said):
    diagnosis = marked(part, cell, (old, new))[name].diagnosis
    assert diagnosis.code == code
    assert said in diagnosis.message


BACKWARD = """
dlogits, dh, dhpre = [None] * T, [None for _ in range(T)], [None] * T
for t in range(T - 1, -1, -1):
    dlogits[t] = (F.softmax(logits[t], 1) - F.one_hot(Yb[:, t], vocab_size)) / (n * T)
    dh[t] = dlogits[t] @ Why.T
    if t != T - 1:
        dh[t] += dhpre[t + 1] @ Whh
    if t >= 0:
        dhpre[t] = (1 - h[t]**3) * dh[t]
    else:
        dhpre[t] = h[t]
"""


def test_loops_in_other_words_are_read_as_well():
    checks = marked("rnn", "rnn-states", whole=BACKWARD)
    assert {name: check.diagnosis.code for name, check in checks.items() if check.name in wrong(checks)} == {
        "dh": "operand-transposed", "dhpre": "wrong-power",
    }  # fmt: skip


SIDE_BY_SIDE = """
dlogits, dh, dhpre = [None] * T, [None] * T, [None] * T
for t, (scores, state) in reversed(list(enumerate(zip(logits, h)))):
    dlogits[t] = (F.softmax(scores, 1) - F.one_hot(Yb[:, t], vocab_size)) / (n * T)
    dh[t] = dlogits[t] @ Why.T + (dhpre[t + 1] @ Whh if t + 1 < T else 0)
    dhpre[t] = (1 - state) * dh[t]
"""
ONE_BY_ONE = """
dWhy = sum(a.T @ d for a, d in zip(hpre, dlogits))
dby = sum(d.sum(1) for d in dlogits)
dWhh = sum(a.T @ d for a, d in zip(h[:-1], dhpre[1:]))
dbh = 0
for d in dhpre:
    dbh = dbh + 2 * d.sum(0)
dWxh = 0
for a, d in zip(x, dhpre):
    dWxh += a.T @ d
dx = []
for d in reversed(dhpre):
    dx.append(d @ Wxh.T + 1)
dx.reverse()
dC = torch.zeros_like(C)
for characters, d in zip(Xb.T, dx):
    dC[characters] += d
dh0 = (dhpre[0] @ Whh.T).sum(0, keepdim=True)
"""


@pytest.mark.parametrize(
    ("cell", "source", "codes"),
    [
        ("rnn-states", SIDE_BY_SIDE, {"dh": "operand-transposed", "dhpre": "wrong-power"}),
        ("rnn-weights", ONE_BY_ONE, {"dWhy": "wrong-neighbour", "dby": "sum-wrong-dimension", "dWhh": "path-missing",
                                     "dbh": "constant-factor", "dx": "term-too-many", "dC": "index-not-accumulated"}),
        ("rnn-weights", ONE_BY_ONE.replace("append(", "insert(0, ").replace("dx.reverse()", ""),
         {"dWhy": "wrong-neighbour", "dby": "sum-wrong-dimension", "dWhh": "path-missing", "dbh": "constant-factor",
          "dx": "term-too-many", "dC": "index-not-accumulated"}),
    ],
)  # fmt: skip
def test_lists_that_are_gone_through_side_by_side_or_grow_are_read_as_well(cell, source, codes):
    checks = marked("rnn", cell, whole=source)
    assert {name: checks[name].diagnosis and checks[name].diagnosis.code for name in wrong(checks)} == codes


def test_a_column_of_a_table_of_indices_is_a_term_that_may_be_missing():
    diagnosis = marked("rnn", "rnn-states", (" - F.one_hot(Yb[:, t], vocab_size)", ""))["dlogits"].diagnosis
    assert diagnosis.code == "term-missing"
    assert "`Yb[:, t]`" in diagnosis.message


def test_the_element_of_one_step_at_every_step_is_found():
    diagnosis = marked("lstm", "lstm-states", ("f[t + 1] * dc[t + 1]", "f[1] * dc[t + 1]"))["dc"].diagnosis
    assert diagnosis.code == "wrong-neighbour"
    assert "`f[1]`: the one of another step belongs there" in diagnosis.message


def test_a_factor_that_is_another_steps_element_is_found():
    diagnosis = marked("lstm", "lstm-states", ("f[t + 1] * dc[t + 1]", "f[t + 1]"))["dc"].diagnosis
    assert diagnosis.code == "factor-missing"
    assert "`dc[t + 1]`" in diagnosis.message


def test_what_a_line_outside_of_loops_does_to_an_element_is_no_number_of_rounds():
    checks = marked("rnn", "rnn-states", whole=f"{bench(EXERCISE).solution['rnn-states']}\ndh[2] = 2 * dh[2]")
    assert wrong(checks)["dh"] == "wrong"
    assert "number 0" not in str(checks["dh"].diagnosis)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("self.dWhh = self.dWhh + h.T", "self.dWhh = self.dWhh + h", {"dWhh": "missing"}),
        ("dinput = dpre @ self.Wxh.T", "dinput = dpre @ self.Wxh", {"dx": "missing"}),
        ("dbefore = dpre @ self.Whh.T", "dbefore = self.Whh @ dpre", {"dh": "missing", "dh0": "missing"}),
    ],
)
def test_a_line_of_a_method_that_raises_costs_no_other(old, new, found):
    assert wrong(marked("cell", "cell-class", (old, new))) == found


def test_a_state_that_hands_nothing_on_to_the_one_before_is_found_in_all_that_follows():
    checks = marked(
        "training", "training-loop", ("cell.backward(dlogits[t] @ Why.T + back)", "cell.backward(dlogits[t] @ Why.T)")
    )
    assert {checks[name].diagnosis.code for name in wrong(checks) if name.startswith("d")} == {"path-missing"}
    assert "from one element of `h` to the next" in checks["dWhh"].diagnosis.message


def test_rows_looked_up_step_by_step_and_added_once_are_found():
    change = ("dC.index_add_(0, Xb[:, t], dx[t])", "dC[Xb[:, t]] += dx[t]")
    assert marked("rnn", "rnn-weights", change)["dC"].diagnosis.code == "index-not-accumulated"


def test_what_no_one_change_explains_has_no_diagnosis():
    checks = marked("rnn", "rnn-states", (DHPRE, "dhpre[t] = torch.cos(h[t] + dh[t]) * dh[t]"))
    assert checks["dhpre"].verdict == "wrong"
    assert checks["dhpre"].diagnosis is None


def test_an_element_that_was_forgotten_is_named():
    checks = marked("rnn", "rnn-weights", ("for t in range(T):\n    ### BEGIN", "for t in range(1, T):\n    ### BEGIN"))
    assert checks["dx"].verdict == "missing"
    assert checks["dx"].remark == "There is no tensor at dx[0]."
    assert checks["dx"].diagnosis is None


@pytest.mark.parametrize(
    "source",
    [
        # contributions in several statements
        f"""
dlogits, dh, dhpre = [None] * T, [None] * T, [None] * T
for t in reversed(range(T)):
    dlogits[t] = {DLOGITS}
    dh[t] = dlogits[t] @ Why.T
    if t + 1 < T:
        dh[t] += dhpre[t + 1] @ Whh.T
    {DHPRE}
""",
        # each step adds to the gradient of the state before it
        f"""
dlogits, dhpre, dh = [None] * T, [None] * T, [torch.zeros_like(state) for state in h]
for t in range(T - 1, -1, -1):
    dlogits[t] = {DLOGITS}
    dh[t] += dlogits[t] @ Why.T
    {DHPRE}
    if t > 0:
        dh[t - 1] += dhpre[t] @ Whh.T
""",
        # what comes back has a name of its own
        f"""
dlogits, dh, dhpre = [{DLOGITS} for t in range(T)], [None] * T, [None] * T
later = 0
for t in reversed(range(T)):
    dh[t] = dlogits[t] @ Why.T + later
    {DHPRE}
    later = dhpre[t] @ Whh.T
""",
        # from the last to the first, and turned over in the end
        f"""
dlogits, dh, dhpre, later = [{DLOGITS} for t in range(T)], [], [], 0
for t in reversed(range(T)):
    dh.append(dlogits[t] @ Why.T + later)
    dhpre.insert(0, (1 - h[t]**2) * dh[-1])
    later = dhpre[0] @ Whh.T
dh = dh[::-1]
""",
        # a tensor in place of each list
        f"""
dlogits = torch.zeros(T, n, vocab_size)
dh, dhpre = torch.zeros(T, n, n_hidden), torch.zeros(T, n, n_hidden)
for t in reversed(range(T)):
    dlogits[t] = {DLOGITS}
    dh[t] = dlogits[t] @ Why.T + (dhpre[t + 1] @ Whh.T if t + 1 < T else 0)
    {DHPRE}
""",
    ],
    ids=["added", "sent-back", "own-name", "appended", "tensors"],
)
def test_other_ways_to_fill_a_list_are_right_and_a_slip_in_them_is_found(source):
    assert wrong(marked("rnn", "rnn-states", whole=source)) == {}
    slip = source.replace("h[t]**2", "h[t]")
    assert slip != source
    assert wrong(marked("rnn", "rnn-states", whole=slip)) == {"dhpre": "wrong"}


def test_a_line_that_reads_what_is_not_there_yet_is_wrong():
    source = f"""
dlogits = [{DLOGITS} for t in range(T)]
dh, dhpre = [torch.zeros_like(state) for state in h], [torch.zeros_like(state) for state in h]
for t in range(T):
    {DH}
    {DHPRE}
"""
    assert wrong(marked("rnn", "rnn-states", whole=source)) == {"dh": "wrong"}


def test_a_state_that_is_handed_on_without_a_name_in_between_carries_along_the_time_axis():
    found = marked("lstm", "lstm-states", ("f[t + 1] * dc[t + 1]", "f[t] * dc[t + 1]"))
    assert wrong(found) == {"dc": "wrong"}
    assert wrong(marked("lstm", "lstm-states", ("dq[t] = o[t] * dh[t]", "dq[t] = dh[t]"))) == {"dq": "wrong"}


def test_a_cut_at_the_wrong_step_is_found():
    found = marked("truncation", "truncation-gradients", ("not cut[t + 1]", "not cut[t]"))
    assert wrong(found) == {"dh": "wrong"}


def test_weights_that_a_cell_does_not_add_up_are_wrong_and_nothing_else_is():
    assert wrong(marked("cell", "cell-class", ("self.dWhh = self.dWhh + h", "self.dWhh = h"))) == {"dWhh": "wrong"}


def test_in_a_training_loop_a_slip_in_a_list_on_the_way_is_charged_once():
    checks = marked("training", "training-loop", ("/ (n * T)", "/ n"))
    assert wrong(checks) == {"dWhy": "wrong"}
    assert checks["dWhy"].diagnosis.code == "constant-factor"


def test_a_list_where_a_tensor_is_asked_for_is_none():
    checks = marked("rnn", "rnn-weights", ("dWhh = sum(before[t].T @ dhpre[t] for t in range(T))",
                                           "dWhh = list(sum(before[t].T @ dhpre[t] for t in range(T)))"))  # fmt: skip
    assert wrong(checks) == {"dWhh": "missing"}
    assert checks["dWhh"].remark == "dWhh isn't a tensor but list."


# --- the parts of it


@pytest.fixture
def steps():
    """h[t] = w * h[t-1], loss = h[0] + h[1] + h[2]"""
    w, start = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0)
    h = [w * start]
    h += [w * h[0]]
    h += [w * h[1]]
    root = h[0] + h[1] + h[2]
    named = {"w": w, "h": h}
    return PartReference(root, named, backward_pass(root, named, {}), {})


def test_the_gradient_of_a_list_has_a_row_for_each_element(steps):
    assert steps.gradients["h"].tolist() == [7.0, 3.0, 1.0]
    assert steps.forward["h"].tolist() == [6.0, 12.0, 24.0]
    assert steps.consumers["w"] == ["h", "loss"] or steps.consumers["w"] == ["h"]


def test_numbers_in_the_place_of_a_list_go_on_from_step_to_step(steps):
    found = steps.chained({"h": torch.tensor([10.0, 20.0, 30.0])})
    assert found["h"].tolist() == [1 + 2 * 20.0, 1 + 2 * 30.0, 1.0]
    assert float(found["w"]) == 10 * 3.0 + 20 * 6.0 + 30 * 12.0


def rows(*value, written=False):
    return grader_detached._Rows(list(value), torch.arange(3.0) + 10, written=written)


def test_an_element_is_read_as_numbers_once_it_is_written_and_not_before():
    found = rows(None, None, None)
    assert found[1] is None
    found[1] = "mine"
    assert float(found[1]) == 11.0
    assert found[0] is None
    assert found.made == [None, "mine", None]
    assert not found.changed


def test_a_line_that_adds_to_an_element_adds_to_what_was_in_it():
    found = rows(None, None, None)
    found[2] = torch.ones(())
    grader_detached.own(found)[2] += 5
    assert [float(found.made[2]), float(found[2])] == [6.0, 12.0]
    assert not found.changed


@pytest.mark.parametrize("late", [
    lambda found: found.__setitem__(0, torch.ones(())), lambda found: found.append(1), lambda found: found.reverse(),
    lambda found: found.made[0].add_(1), lambda found: found[0].mul_(2), lambda found: found.__setitem__(slice(1), [1]),
])  # fmt: skip
def test_what_is_written_after_others_have_read_it_is_told(late):
    found = rows(None, None, None)
    found[0] = torch.zeros(())
    assert float(found[0]) == 10.0
    late(found)
    assert found.changed


def test_a_list_of_another_length_stays_what_it_is():
    found = grader_detached._Rows([], torch.zeros(3), written=False)
    found.append(4.0)
    assert found[-1] == 4.0
    assert found.made == [4.0]
    assert found.changed


def test_what_was_expanded_is_put_back_as_it_was():
    first = torch.ones(1, 2)
    namespace = {"first": first, "all": first.expand(3, 2), "list": [first.expand(3, 2), None]}
    kept = grader_detached._Kept(namespace)
    first += 1
    namespace["list"][1] = 5
    kept.restore(namespace)
    assert namespace["all"].tolist() == [[1.0, 1.0]] * 3
    assert namespace["list"][1] is None
