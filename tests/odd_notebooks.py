"""Notebooks as they were found: what was right in them lost its points, or what was wrong earned some.

As in `test_published`, each gives a notebook, the verdicts that differ from right, and words of a note or remark.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.lecture import CALLS, STEPS, Lecture

Scenario = tuple[Lecture, dict[str, str], str]
ODD: dict[str, Callable[[], Scenario]] = {}

ALL, LOSS, NORM, TRAIN = "every-gradient", "cross-entropy", "batch-norm", "training"
USERS = ("batch", "forward", "gradients", "fast-loss", "dlogits", "training")
"""The cells that read the batch."""
BACKWARD = "    # backward, by hand\n"
LOOP = "# the same again, many times\n"


def odd(build: Callable[[], Scenario]) -> Callable[[], Scenario]:
    ODD[build.__name__] = build
    return build


def verdicts(part: str, verdict: str, *names: str) -> dict[str, str]:
    return {f"{part}/{name}": verdict for name in names}


def below(first: str) -> list[str]:
    """The gradients of part 1 below one, in the order of `STEPS`."""
    names = list(STEPS)
    return names[names.index(first) + 1 :]


def cells_of_one() -> tuple[list[str], Callable[[str], int]]:
    """A cell for each gradient of part 1, and where each is."""
    return [f"{source}\n{CALLS[name]}" for name, source in STEPS.items()], list(STEPS).index


# --- own names for what is given


def data_called_otherwise() -> Lecture:
    lecture = Lecture()
    pairs = (
        ("Xtr", "X_train"),
        ("Ytr", "Y_train"),
        ("Xdev", "X_val"),
        ("Ydev", "Y_val"),
        ("Xte", "X_t"),
        ("Yte", "Y_t"),
    )
    for old, new in pairs:
        lecture.everywhere(old, new)
    return lecture


def batch_called_otherwise(lecture: Lecture) -> Lecture:
    for key in USERS:
        lecture.cells[key] = lecture.cells[key].replace("Xb", "xb").replace("Yb", "yb")
    return lecture


@odd
def a_batch_under_a_name_of_ones_own():
    return batch_called_otherwise(Lecture()), {}, ""


@odd
def a_data_set_and_a_batch_under_names_of_ones_own():
    return batch_called_otherwise(data_called_otherwise()), {}, "its own way to draw its batches"


@odd
def a_data_set_of_ones_own():
    lecture = batch_called_otherwise(data_called_otherwise())
    lecture.cells["dataset"] = lecture.cells["dataset"].split("import random")[0] + (
        "def load(path):\n  return build_dataset(open(path).read().splitlines()[:20000])\n"
        "X_train, Y_train = load('names.txt')\nX_val, Y_val, X_t, Y_t = X_train, Y_train, X_train, Y_train\n"
    )
    return lecture, {}, ""


@odd
def a_forward_pass_in_the_loop_that_is_another():
    lecture = Lecture().replace(
        "training", ("keepdim=True, unbiased=True)\n    bnvar_inv", "keepdim=True, unbiased=False)\n    bnvar_inv")
    )
    lost = {
        **verdicts(TRAIN, "unchecked", "dW2", "dbngain"),
        **verdicts(TRAIN, "carried", "db2", "dbnbias", "dW1", "dC"),
    }
    trained = verdicts(TRAIN, "carried", "C", "W1", "W2", "b2", "bngain", "bnbias")
    return lecture, lost | trained, "`bnvar` isn't what the exercise's forward pass computes, from Cell 15, line 39 on"


# --- the training loop


@odd
def two_training_loops_and_the_second_is_right():
    lecture = Lecture()
    bad = lecture.cells["training"].replace("dW2 = h.T @ dlogits", "dW2 = -h.T @ dlogits")
    return lecture.insert("dhprebn", "first", bad), {}, "There are 2 training loops: only the last one counts"


@odd
def two_training_loops_and_one_network():
    lecture = Lecture()
    network, loop = lecture.cells["training"].split(LOOP)
    lecture.cells["training"] = "# once more\n" + loop
    return lecture.insert("dhprebn", "first", loop).insert("dhprebn", "init", network), {}, "There are 2 training loops"


@odd
def a_training_function_that_is_called_twice():
    lecture = Lecture()
    network, loop = lecture.cells["training"].split("with torch.no_grad():\n")
    lecture.cells["training"] = f"{network}@torch.no_grad()\ndef train(steps=10):\n{loop}\n\ntrain()\n"
    return lecture.insert("training", "again", "train(20)"), {}, "There are 2 training loops"


@odd
def a_draw_of_another_bound():
    lecture = Lecture().replace("training", ("(0, Xtr.shape[0], (batch_size,)", "(0, len(words), (n,)"))
    return lecture, {}, "Your training loop has its own way to draw its batches"


@odd
def a_loop_over_rows_with_the_counter_of_the_steps():
    rows = (
        ("for k in range(Xb.shape[0]):", "for i in range(Xb.shape[0]):"),
        ("dC[Xb[k,j]] += demb[k,j]", "dC[Xb[i,j]] += demb[i,j]"),
    )
    return Lecture().replace("training", *rows), {}, ""


def in_a_function(call: str) -> Lecture:
    """The backward pass of part 4 in a function with a cell of its own, called in the loop."""
    lecture = Lecture()
    arguments = "Xb, Yb, emb, embcat, hprebn, bnvar_inv, bnraw, h, logits"
    head, rest = lecture.cells["training"].split(BACKWARD)
    body, tail = rest.split("    grads = [")
    lines = "\n".join(line[2:] for line in body.rstrip().split("\n"))
    last = "  return [dC, dW1, db1, dW2, db2, dbngain, dbnbias]"
    lecture.cells["training"] = f"{head}    {call} = backward({arguments})\n" + tail.split("\n", 1)[1]
    return lecture.insert("dhprebn", "function", f"def backward({arguments}):\n{lines}\n{last}")


@odd
def a_function_for_all_of_part_four_that_the_loop_calls():
    return in_a_function("grads"), {}, ""


@odd
def a_function_for_all_of_part_four_whose_results_have_names():
    return in_a_function("grads = dC, dW1, db1, dW2, db2, dbngain, dbnbias"), {}, ""


@odd
def a_view_of_a_fixed_size_in_the_loop():
    lecture = Lecture().replace("training", ("demb = dembcat.view(emb.shape)", "demb = dembcat.view((32, 3, 10))"))
    follow = verdicts(TRAIN, "carried", "C", "W1", "W2", "b2", "bngain", "bnbias")
    return lecture, {f"{TRAIN}/dC": "wrong", **follow}, ""


@odd
def autograd_for_a_comparison_that_is_switched_off():
    old = "      p.data += -lr * grad"
    lecture = Lecture().replace("training", (old, "      p.data -= lr * (p.grad if use_autograd else grad)"))
    return lecture.insert("dhprebn", "switch", "use_autograd = False"), {}, ""


@odd
def part_four_as_the_lecture_hands_it_out():
    lecture = Lecture()
    head, rest = lecture.cells["training"].split(BACKWARD)
    blank = (
        "    for p in parameters:\n      p.grad = None\n    loss.backward() # only to compare with\n"
        "    dC, dW1, db1, dW2, db2, dbngain, dbnbias = None, None, None, None, None, None, None\n    # update\n"
    )
    update = rest.split("    # update\n")[1].replace("-lr * grad", "-lr * p.grad")
    update = update.replace("zip(parameters, grads)", "zip(parameters, parameters)")
    lecture.cells["training"] = head.replace("with torch.no_grad():", "if True:") + blank + update
    names = ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias"]
    return lecture, verdicts(TRAIN, "missing", *names, *(f"d{name}" for name in names)), "dC is still None."


# --- which part


@odd
def part_two_by_way_of_dlogprobs():
    lecture = Lecture()
    lecture.cells["dlogits"] = (
        "dlogprobs = torch.zeros_like(logprobs)\ndlogprobs[range(n), Yb] = 1.0\n"
        "dlogits = (F.softmax(logits, 1) - dlogprobs) / n\ncmp('logits', dlogits, logits)"
    )
    return lecture, {}, ""


@odd
def part_three_by_way_of_dbndiff2():
    lecture = Lecture().step("dbndiff2", "")
    lecture.cells["dhprebn"] = (
        "dbnraw = bngain * dhpreact\n"
        "dbnvar = (dbnraw * (hprebn - bnmeani) * -0.5 * (bnvar + 1e-5)**-1.5).sum(0, keepdim=True)\n"
        "dbndiff2 = 2.0 / (n - 1) * (hprebn - bnmeani) * dbnvar\n"
        "dhprebn = dbnraw * bnvar_inv + dbndiff2\ndhprebn = dhprebn - (dbnraw * bnvar_inv).sum(0) / n\n"
    )
    return (
        lecture,
        {f"{ALL}/dbndiff2": "missing", **verdicts(ALL, "carried", *below("dbndiff2"))},
        "dbndiff2, further up, has no value",
    )


@odd
def no_fast_loss_and_scratch_work_at_the_end():
    lecture = Lecture().drop("fast-loss")
    lecture.cells["scratch"] = "dW2 = h.T @ dlogits\ndW2.shape"
    return lecture, {}, ""


@odd
def a_function_that_is_called_in_the_last_cell():
    lecture = Lecture().drop("fast-loss", "dlogits", "fast-norm", "dhprebn", "training", "calibrate", "evaluate")
    body = "\n".join("  " + line for name in STEPS for line in [*STEPS[name].split("\n"), CALLS[name]])
    lecture.cells["gradients"] = f"def backward():\n{body}\n"
    lecture.cells["call"] = "backward()"
    names = ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias"]
    left = verdicts(TRAIN, "missing", *names, *(f"d{name}" for name in names))
    return lecture, {**left, f"{LOSS}/dlogits": "missing", f"{NORM}/dhprebn": "missing"}, ""


# --- attempts, aliases, names for something else


@odd
def a_sum_over_one_hot_rows_that_insists_on_float32():
    line = "dC = (F.one_hot(Xb, vocab_size).float().permute(0, 2, 1) @ demb).sum(0)"
    return Lecture().step("dC", f"dC = torch.zeros_like(C)\n{line}"), {}, "The code works in float32 only"


@odd
def an_attempt_that_raises_above_one_with_a_slip():
    lecture = Lecture().step("dbndiff", "dbndiff = bnvar_inv * dbnraw\ndbndiff += bndiff * dbndiff2")
    lecture.insert("forward", "scratch", "dbndiff = bnvar_inv * dbnraw")
    carried = verdicts(ALL, "carried", "dhprebn", "dembcat", "dW1", "demb", "dC")
    return lecture, {f"{ALL}/dbndiff": "wrong", **carried}, ""


MASK = "dlogits += F.one_hot({}, num_classes=logits.shape[1]) * dlogit_maxes"


@odd
def a_slip_by_symmetry_behind_an_alias():
    line = MASK.format("logit_maxes.max(1).indices")
    return Lecture().step("dlogits", f"dlogits = dnorm_logits\n{line}"), {f"{ALL}/dlogits": "wrong"}, ""


@odd
def an_alias_and_no_slip():
    return Lecture().step("dlogits", f"dlogits = dnorm_logits\n{MASK.format('logits.max(1).indices')}"), {}, ""


@odd
def gradients_names_for_something_else_when_they_are_done_with():
    lecture = Lecture()
    lecture.cells["gradients"] += "\ndh = 3\ndprobs = [1, 2]\n"
    return lecture, verdicts(ALL, "carried", "dh", "dprobs"), "from line 64 on, dh is something else"


@odd
def a_gradient_that_is_padded_for_those_below():
    pad = "dhpreact = torch.cat([dhpreact, torch.zeros(1, dhpreact.shape[1], dtype=dhpreact.dtype)])"
    lecture = Lecture().step("dhpreact", f"{STEPS['dhpreact']}\n{pad}")
    lecture.replace(
        "gradients", ("(bnraw * dhpreact)", "(bnraw * dhpreact[:-1])"), ("bngain * dhpreact", "bngain * dhpreact[:-1]")
    )
    return (
        lecture,
        {f"{ALL}/dhpreact": "carried", f"{NORM}/dhprebn": "carried"},
        "Right; from line 18 on, dhpreact is something else",
    )


@odd
def n_as_a_counter_below_part_one():
    lecture = Lecture()
    lecture.cells["gradients"] += "\nfor n in range(3):\n  print(n)\n"
    return lecture, {}, ""


@odd
def n_as_a_counter_in_the_middle_of_part_one():
    cells, place = cells_of_one()
    lecture = Lecture().split(
        "gradients", *cells[: place("dhpreact")], "for n in range(3):\n  print(n)", *cells[place("dhpreact") :]
    )
    carried = verdicts(ALL, "carried", "dbndiff2", "dbndiff", "dhprebn", "dembcat", "dW1", "db1", "demb", "dC")
    return lecture, carried, "`n` is 2 from line 1 on"


@odd
def a_helper_called_h_that_others_need_as_it_was():
    lecture = Lecture().step("dh", f"h = 1.0 - h**2\n{STEPS['dh']}").step("dhpreact", "dhpreact = h * dh")
    return lecture, {f"{ALL}/dW2": "carried"}, "`h` is something else from line 14 on"


@odd
def a_sum_that_comes_to_nothing_below_a_forgotten_term():
    lecture = Lecture().step("dbndiff", "dbndiff = (2*bndiff) * dbndiff2")
    carried = verdicts(ALL, "carried", "dbnmeani", "dhprebn", "dembcat", "dW1", "demb", "dC")
    return lecture, {f"{ALL}/dbndiff": "wrong", **carried}, ""
