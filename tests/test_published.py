"""Whole notebooks in the manner of published attempts at the lecture, each with the marks that it deserves.

None has our metadata. What is not named in a scenario's `expected` must be right; points are those of exercise 01.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from grader.records import Grading, Submission
from tests.lecture import CALLS, CELLS, STEPS, Lecture
from tests.odd_notebooks import ODD

EXERCISE = "01_backprop_ninja"
ALL, LOSS, NORM, TRAIN = "every-gradient", "cross-entropy", "batch-norm", "training"
TRAINED = ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias"]
NOT_TRAINED = {f"{TRAIN}/{prefix}{name}": "missing" for name in TRAINED for prefix in ("d", "")}

Expected = dict[str, str]
Scenario = tuple[Lecture, Expected, str]
SCENARIOS: dict[str, Callable[[], Scenario]] = dict(ODD)


def scenario(build: Callable[[], Scenario]) -> Callable[[], Scenario]:
    """A notebook, the verdicts that differ from right, and words that a note or remark on it must hold."""
    SCENARIOS[build.__name__] = build
    return build


def missing(*names: str, part: str = ALL) -> Expected:
    return {f"{part}/{name}": "missing" for name in names}


def carried(*names: str, part: str = ALL) -> Expected:
    return {f"{part}/{name}": "carried" for name in names}


@pytest.fixture
def mark(real_pool) -> Callable[[bytes], Grading]:
    return lambda data: real_pool.grade(Submission(student="student", exercise=EXERCISE, data=data))


# --- as they were published


@scenario
def as_in_the_lecture():
    return Lecture(), {}, "wasn't made from the exercise's own file"


@scenario
def not_begun():
    lecture = Lecture()
    lecture.cells["gradients"] = "# YOUR CODE HERE :)\n" + "\n".join(f"# {call}" for call in CALLS.values())
    lecture.cells["dlogits"] = "dlogits = None # TODO\n#cmp('logits', dlogits, logits)"
    lecture.cells["dhprebn"] = "dhprebn = None # TODO\ncmp('hprebn', dhprebn, hprebn)"
    lecture.drop("training", "calibrate", "evaluate")
    return lecture, missing(*STEPS) | missing("dlogits", part=LOSS) | missing("dhprebn", part=NORM) | NOT_TRAINED, ""


@scenario
def stopped_at_the_tanh():
    done = list(STEPS)[: list(STEPS).index("dhpreact") + 1]
    lecture = Lecture().drop("fast-loss", "dlogits", "fast-norm", "dhprebn", "training", "calibrate", "evaluate")
    lecture.cells["gradients"] = "\n".join([STEPS[name] for name in done] + [CALLS[name] for name in STEPS])
    left = [name for name in STEPS if name not in done]
    return lecture, missing(*left) | missing("dlogits", part=LOSS) | missing("dhprebn", part=NORM) | NOT_TRAINED, ""


@scenario
def one_cell_for_each_gradient_with_its_cmp():
    cells = [f"{source}\n{CALLS[name]}" for name, source in STEPS.items()]
    return Lecture().split("gradients", *cells), {}, ""


@scenario
def split_into_twenty_cells_in_the_middle_of_gradients():
    lines = [line for source in STEPS.values() for line in source.split("\n") if line[:1] != " "]
    pieces = [line for line in lines if not line.startswith("for ")]
    pieces[-1] = STEPS["dC"]
    return Lecture().split("gradients", *pieces), {}, ""


@scenario
def everything_in_one_cell():
    return Lecture().merge(*(key for key in CELLS)), {}, ""


@scenario
def all_parts_gradients_in_one_cell():
    return Lecture().merge("gradients", "fast-loss", "dlogits", "fast-norm", "dhprebn", "training"), {}, ""


@scenario
def cmp_between_the_gradients_and_some_commented_out():
    lecture = Lecture()
    calls = {name: call if i % 3 else f"# {call}" for i, (name, call) in enumerate(CALLS.items())}
    lecture.cells["gradients"] = "\n".join(f"{source}\n{calls[name]}" for name, source in STEPS.items())
    return lecture, {}, ""


# --- the forward pass and its values


@scenario
def other_sizes_and_another_seed():
    lecture = Lecture().replace("network", ("n_hidden = 64", "n_hidden = 200"), ("2147483647", "1337"))
    return lecture.replace("batch", ("batch_size = 32", "batch_size = 64")), {}, "It sets batch_size = 64"


@scenario
def forward_pass_split_over_cells():
    source = CELLS["forward"]
    cuts = ["# BatchNorm layer", "# tanh", "# cross entropy", "# autograd's backward pass"]
    pieces = []
    for cut in cuts:
        head, source = source.split(cut)
        pieces.append(head)
    return Lecture().split("forward", *pieces, source), {}, ""


@scenario
def forward_pass_commented_out():
    lecture = Lecture()
    lecture.cells["forward"] = "\n".join(f"# {line}" for line in CELLS["forward"].splitlines())
    return lecture, {}, ""


@scenario
def forward_pass_deleted_with_the_network():
    return Lecture().drop("network", "batch", "forward"), {}, ""


@scenario
def forward_names_of_his_own_that_the_gradients_use():
    lecture = Lecture()
    for key in ("forward", "gradients"):
        lecture.cells[key] = lecture.cells[key].replace("counts_sum_inv", "inv_total").replace("bndiff2", "squares")
    expected = missing("dcounts_sum_inv", "dbndiff2")
    return lecture, expected, ""


@scenario
def logits_max_for_logit_maxes():
    lecture = Lecture()
    for key in ("forward", "gradients"):
        lecture.cells[key] = lecture.cells[key].replace("logit_maxes", "logits_max")
    return lecture, missing("dlogit_maxes"), "This exercise has no dlogits_max. Did you mean dlogit_maxes?"


@scenario
def gradients_named_otherwise():
    lecture = Lecture()
    text = lecture.cells["gradients"]
    for old, new in (("dprobs", "dL_probs"), ("dh ", "dH "), ("dh\n", "dH\n"), ("dh,", "dH,")):
        text = text.replace(old, new)
    lecture.cells["gradients"] = text
    return lecture, {}, "dL_probs was taken for dprobs, because a cmp line compares it with probs."


@scenario
def gradients_named_otherwise_and_never_compared():
    lecture, _, _ = gradients_named_otherwise()
    calls = "cmp('probs', dL_probs, probs)", "cmp('h', dH, h)"
    for call in calls:
        assert call in lecture.cells["gradients"]
        lecture.cells["gradients"] = lecture.cells["gradients"].replace(call, "")
    return lecture, missing("dprobs", "dh"), "This exercise has no dL_probs. Did you mean dprobs?"


@scenario
def forward_and_gradients_in_one_cell():
    return Lecture().merge("batch", "forward", "gradients"), {}, ""


@scenario
def a_path_to_the_names_and_drive():
    lecture = Lecture().replace("words", ("'names.txt'", "'/content/drive/MyDrive/makemore/names.txt'"))
    lecture.insert("imports", "drive", "from google.colab import drive\ndrive.mount('/content/drive')")
    lecture.insert("imports", "wget", "!wget https://example.org/names.txt\n!pip install torch --quiet")
    lecture.insert("drive", "cd", "%cd /content/drive/MyDrive\n!ls -la | head -3")
    return lecture, {}, "Shell lines and magics were not run: !wget"


# --- how it was worked on


@scenario
def repeated_attempts_the_last_counts():
    first = STEPS["dcounts"].replace("dcounts_sum", "dcounts_sum * 0")
    cells = [f"{source}\n{CALLS[name]}" for name, source in STEPS.items()]
    place = list(STEPS).index("dcounts")
    return Lecture().split("gradients", *cells[:place], first, cells[place], "dh = 5", *cells[place + 1 :]), {}, ""


@scenario
def an_attempt_that_is_mended_too_late():
    lecture = Lecture().step("dW1", "dW1 = 2 * embcat.T @ dhprebn").step("dbnvar", "dbnvar = dbnvar_inv * 3")
    lecture.insert("gradients", "again", STEPS["dbnvar"] + "\n" + STEPS["dW1"])
    below = ["dbndiff", "dhprebn", "dembcat", "dW1", "demb", "dC"]
    return lecture, {f"{ALL}/dbndiff2": "wrong", **{f"{ALL}/{name}": "carried" for name in below}}, ""


@scenario
def a_first_attempt_at_the_end_that_fails():
    return Lecture().insert("gradients", "try", "dC = torch.zeros(5) @ torch.zeros(7)"), {}, ""


@scenario
def gradients_in_a_function_that_is_called():
    body = "\n".join("  " + line for source in STEPS.values() for line in source.split("\n"))
    names = ", ".join(STEPS)
    source = f"def backward():\n{body}\n  return {names}\n\n{names} = backward()\n" + "\n".join(CALLS.values())
    lecture = Lecture()
    lecture.cells["gradients"] = source
    return lecture, {}, ""


@scenario
def gradients_in_a_function_with_globals():
    body = "\n".join("  " + line for source in STEPS.values() for line in source.split("\n"))
    lecture = Lecture()
    lecture.cells["gradients"] = f"def backward():\n  global {', '.join(STEPS)}\n{body}\n\nbackward()"
    return lecture, {}, ""


@scenario
def gradients_that_a_function_keeps_to_itself():
    body = "\n".join("  " + line for name in STEPS for line in [*STEPS[name].split("\n"), CALLS[name]])
    lecture = Lecture()
    lecture.cells["gradients"] = f"def backward():\n{body}\n\nbackward()"
    return lecture, {}, ""


@scenario
def gradients_that_a_function_returns_in_a_dictionary():
    body = "\n".join("  " + line for name in STEPS for line in STEPS[name].split("\n"))
    lecture = Lecture()
    lecture.cells["gradients"] = f"def backward():\n{body}\n  return locals()\n\ngrads = backward()\ngrads.keys()"
    return lecture, {}, ""


@scenario
def helpers_for_the_gradients():
    lecture = Lecture().insert("cmp", "helper", "def unbroadcast(t, like):\n  return t.sum(0, keepdim=like.ndim > 1)")
    lecture.step("dbngain", "dbngain = unbroadcast(bnraw * dhpreact, bngain)")
    lecture.step("db1", "db1 = unbroadcast(dhprebn, b1)")
    return lecture, {}, ""


@scenario
def a_cell_that_fails_and_the_others_fine():
    lecture = Lecture().split("gradients", *STEPS.values())
    lecture.insert("gradients-3", "oops", "no_such_name + 1\nanother = 2")
    return lecture, {}, ""


@scenario
def cmp_on_what_is_still_none():
    lecture = Lecture().step("dC", "dC = None").insert("gradients", "after", "x = 1")
    lecture.replace("gradients", (CALLS["demb"] + "\n", ""))
    lecture.cells["gradients"] += "\n" + CALLS["demb"]
    return lecture, missing("dC"), "dC is still None."


@scenario
def cmp_of_none_above_the_other_gradients():
    lecture = Lecture().step("dprobs", STEPS["dprobs"] + "\nlater = None\ncmp('counts', later, counts)")
    return lecture, {}, ""


@scenario
def cmp_redefined_with_assertions_and_colours():
    lecture = Lecture()
    lecture.cells["cmp"] = (
        "def cmp(name, ours, tensor, strict=True):\n"
        "  same = torch.all(ours == tensor.grad).item()\n"
        "  print('\\033[92m' + name, 'exactly' if same else 'nearly')\n"
        "  assert same or not strict, name\n"
    )
    lecture.cells["gradients"] = "\n".join(f"{source}\n{CALLS[name]}" for name, source in STEPS.items())
    return lecture, {}, ""


def with_cmp(definition: str, call: str) -> Lecture:
    """A `cmp` of the student's own, called after every gradient."""
    lecture = Lecture()
    lecture.cells["cmp"] = definition
    lines = [f"{source}\n{call.format(name[1:])}" for name, source in STEPS.items()]
    lecture.cells["gradients"] = "\n".join(lines)
    lecture.cells["dlogits"] = lecture.cells["dlogits"].split("\ncmp(")[0]
    lecture.cells["dhprebn"] = lecture.cells["dhprebn"].split("\ncmp(")[0]
    return lecture


@scenario
def cmp_with_its_arguments_in_another_order():
    return (
        with_cmp(
            "def cmp(dt, t, s=''):\n  print(s, '✅' if torch.allclose(dt, t.grad) else '❌')", "cmp(d{0}, {0}, '{0}')"
        ),
        {},
        "",
    )


@scenario
def cmp_whose_result_is_used():
    return (
        with_cmp(
            CELLS["cmp"] + "  return ex, maxdiff\n", "good, off = cmp('{0}', d{0}, {0})\nassert good or off < 1e-5"
        ),
        {},
        "",
    )


@scenario
def cmp_under_another_name_on_what_has_no_gradient():
    lecture = with_cmp("def check(dt, t):\n  print((dt - t.grad).abs().max())", "check(d{0}, {0})")
    lecture.replace("gradients", ("check(dh, h)", "check(dh, h * 1)\ncheck(later, h)"))
    return lecture, {}, ""


@scenario
def cmp_in_a_loop_over_what_is_not_there_yet():
    loop = "for label, mine, theirs in [('h', dh, h), ('W2', later, W2)]:\n  cmp(label, mine, theirs)"
    return Lecture().step("dh", f"{STEPS['dh']}\n{loop}"), {}, ""


@scenario
def cmp_where_neither_backward_nor_retain_grad_was_run():
    lecture = with_cmp(
        CELLS["cmp"], CALLS["dh"].replace("dh", "d{0}").replace(", h)", ", {0})").replace("'h'", "'{0}'")
    )
    return lecture.replace("forward", ("  t.retain_grad()", "  pass"), ("loss.backward()", "# loss.backward()")), {}, ""


@scenario
def a_tensor_of_his_own_that_autograd_never_saw():
    lecture = Lecture().replace("forward", ("hprebn = embcat @ W1 + b1", "pre = embcat @ W1 + b1\nhprebn = pre"))
    lecture.replace("forward", ("  t.retain_grad()\n", "  t.retain_grad()\npre.retain_grad()\n"))
    return lecture.step("dhprebn", STEPS["dhprebn"] + "\noff = (pre.grad - dhprebn).abs().max()\nprint(off)"), {}, ""


@scenario
def assertions_that_fail_beside_the_gradients():
    lecture = Lecture().step("dh", STEPS["dh"] + "\nassert dh.shape == (1, 2), 'later'")
    return lecture, {}, ""


# --- what is right only up to something


@scenario
def sizes_hard_coded():
    lecture = Lecture().step("dlogprobs", "dlogprobs = torch.zeros((32, 27))\ndlogprobs[range(32), Yb] = -1.0/32")
    return lecture, {"every-gradient/dlogprobs": "wrong"}, ""


@scenario
def floats_in_a_float64_case():
    lecture = Lecture().step(
        "dlogits",
        "dlogits = dnorm_logits.clone()\n"
        "dlogits = dlogits + F.one_hot(logits.max(1).indices, 27).float() * dlogit_maxes.float()",
    )
    return lecture, {}, ""


@scenario
def floats_in_part_one_that_part_three_starts_from():
    lecture = Lecture().step("dlogprobs", "dlogprobs = torch.zeros((n, 27)).float()\ndlogprobs[range(n), Yb] = -1.0/n")
    lecture.step("dlogits", "dlogits = dnorm_logits.float()")
    return lecture, {}, "The code works in float32 only"


@scenario
def shapes_that_broadcast():
    lecture = Lecture().step("dbnmeani", "dbnmeani = (-dbndiff).sum(0)")
    return lecture, {}, "it broadcasts, so the value counts"


@scenario
def an_index_that_drops_repeats():
    return Lecture().step("dC", "dC = torch.zeros_like(C)\ndC[Xb] += demb"), {"every-gradient/dC": "wrong"}, ""


@scenario
def logit_maxes_left_out():
    lecture = Lecture().step("dlogit_maxes", "").step("dlogits", "dlogits = dnorm_logits.clone()")
    lecture.cells["gradients"] = lecture.cells["gradients"].replace(CALLS["dlogit_maxes"], "")
    return lecture, missing("dlogit_maxes"), ""  # it is all but zero: dlogits is right without it


# --- the training loop


@scenario
def training_with_another_loop_and_rate():
    lecture = Lecture().replace(
        "training",
        ("  for i in range(max_steps):", "  for it in range(20000):"),
        ("if i < 100000", "if it < 15000"),
        ("if i % 10000 == 0", "if it % 10000 == 0"),
        ("{i:7d}", "{it:7d}"),
        (", generator=g)\n    Xb", ")\n    Xb"),
    )
    return lecture, {}, "Your training loop has its own number of steps"


@scenario
def training_that_updates_by_a_number():
    lecture = Lecture().replace(
        "training", ("    lr = 0.1 if i < 100000 else 0.01\n", ""), ("p.data += -lr * grad", "p.data -= 0.05 * grad")
    )
    return lecture, {}, "Your training loop has its own learning rate"


@scenario
def training_with_a_schedule_in_a_function():
    lecture = Lecture().replace("training", ("lr = 0.1 if i < 100000 else 0.01", "lr = rate_at(i)"))
    lecture.insert(
        "forward", "schedule", "import math\ndef rate_at(it):\n  return 0.1 * (1 + math.cos(it / 200000)) / 2"
    )
    return lecture, {}, "Your training loop has its own learning rate"


@scenario
def training_with_a_list_of_rates():
    lecture = Lecture().replace("training", ("lr = 0.1 if i < 100000 else 0.01", "lr = lrs[i]"))
    lecture.replace("training", ("lossi = []", "lossi = []\nlrs = 10 ** torch.linspace(-3, 0, 200000)"))
    return lecture, {}, "Your training loop has its own learning rate"


@scenario
def training_at_a_rate_that_is_lowered_once():
    lecture = Lecture().replace("training", ("lr = 0.1 if i < 100000 else 0.01", "if i == 100000: lr = lr / 10"))
    return lecture.replace("training", ("lossi = []", "lossi = []\nlr = 0.1")), {}, "its own learning rate"


@scenario
def training_that_adds_a_rate_below_zero():
    lecture = Lecture().replace(
        "training", ("lr = 0.1 if i < 100000 else 0.01", "lr = -0.1 if i < 100000 else -0.01"), ("+= -lr *", "+= lr *")
    )
    return lecture, {}, "Your training loop has its own learning rate"


@scenario
def training_that_climbs():
    lecture = Lecture().replace("training", ("+= -lr *", "+= lr *"))
    return lecture, {f"{TRAIN}/{name}": "wrong" for name in TRAINED if name != "b1"}, ""


@scenario
def training_whose_update_is_a_function():
    lecture = Lecture().insert(
        "cmp", "sgd", "def sgd(ps, gs, rate):\n  for p, g in zip(ps, gs):\n    p.data -= rate * g"
    )
    lecture.replace(
        "training",
        ("    for p, grad in zip(parameters, grads):\n      p.data += -lr * grad", "    sgd(parameters, grads, lr)"),
    )
    return lecture, {}, "Your training loop has its own learning rate"


@scenario
def training_by_an_optimizer_of_torchs():
    lecture = Lecture().replace("training", ("lossi = []", "lossi = []\nsgd = torch.optim.SGD(parameters, lr=0.05)"))
    update = "    for p, grad in zip(parameters, grads):\n      p.data += -lr * grad"
    own = "    for p, grad in zip(parameters, grads):\n      p.grad = grad\n    sgd.step()"
    return lecture.replace("training", (update, own)), {}, "Your training loop has its own learning rate"


@scenario
def training_while_there_are_steps_left():
    lecture = Lecture().replace(
        "training", ("  for i in range(max_steps):", "  i = -1\n  while i < 200000 - 1:\n    i += 1")
    )
    return lecture, {}, "Your training loop has its own number of steps"


def trained_in_a_function(head: str, last: str) -> Lecture:
    """The training loop in a function with a head and last lines of its own."""
    lecture = Lecture()
    setup, loop = lecture.cells["training"].split("with torch.no_grad():\n")
    lecture.cells["training"] = f"{setup}@torch.no_grad()\n{head}\n{loop}\n{last}\n"
    return lecture


@scenario
def training_in_a_function_with_steps_rate_and_size_of_its_own():
    lecture = trained_in_a_function("def train(max_steps=200000, batch_size=32, lr=0.1):\n  n = batch_size", "train()")
    return lecture, {}, "Your training loop has its own number of steps"


@scenario
def training_in_a_function_that_keeps_its_gradients():
    return trained_in_a_function("def train():\n  print('go')", "train()"), {}, "its own learning rate"


@scenario
def training_in_a_function_that_returns_its_gradients():
    lecture = trained_in_a_function(
        "def train():", "  return grads\ndC, dW1, db1, dW2, db2, dbngain, dbnbias = train()"
    )
    return lecture, {}, "Your training loop has its own learning rate"


@scenario
def training_without_no_grad_and_with_autograd_left_in():
    lecture = Lecture().replace(
        "training",
        ("with torch.no_grad():\n", "if True:\n"),
        ("    # backward, by hand\n", "    for p in parameters:\n      p.grad = None\n    loss.backward()\n"),
    )
    return lecture, {}, ""


@scenario
def training_stands_above_the_rest():
    return Lecture().move("training", behind="forward"), {}, ""


@scenario
def exercises_two_and_three_above_the_first():
    lecture = Lecture().move("fast-loss", behind="forward").move("dlogits", behind="fast-loss")
    return lecture, {}, ""


# --- what else stands in such a file


@scenario
def figures_prose_and_dead_cells():
    lecture = Lecture().insert(
        "dlogits", "figure", "plt.figure(figsize=(4, 4))\nplt.imshow(dlogits.detach(), cmap='gray')"
    )
    lecture.insert("dlogits", "look", "F.softmax(logits, 1)[0]").insert("look", "more", "dlogits[0] * n")
    lecture.insert("forward", "text", "So far so good: dh = 1").insert("forward", "empty", "")
    lecture.kinds["text"] = "markdown"
    lecture.insert("figure", "dead", "if False:\n  dlogits = None\n'''\ndhpreact = 0\n'''")
    return lecture, {}, ""


@scenario
def imports_of_modules_that_nobody_has():
    lecture = Lecture().replace("imports", ("import torch\n", "import wandb\nimport torch\nimport mygrad as mg\n"))
    lecture.insert("imports", "login", "wandb.login()\nhelper_rate = 3")
    lecture.cells["gradients"] = "from mytools.nn import debug\nimport seaborn as sns\n" + lecture.cells["gradients"]
    return lecture, {}, ""


@scenario
def terminal_text_in_a_code_cell():
    text = (
        "$ pip install torch\nCollecting torch\n  Downloading torch-2.1.0 (670 MB)\nSuccessfully installed torch-2.1.0"
    )
    return Lecture().insert("imports", "terminal", text), {}, ""


@scenario
def a_cell_with_a_syntax_error():
    lecture = Lecture().insert("gradients", "broken", "dC = torch.zeros_like(C\nfor k in")
    return lecture, {}, "isn't valid Python (see its line 1) and was not run."


@scenario
def a_syntax_error_in_the_one_cell_of_all_gradients():
    lecture = Lecture().step("dC", "dC = torch.zeros_like(C)\nfor k in range(n)\n  dC[Xb[k]] += demb[k]")
    return lecture, missing("dC"), "Cell 10 has a syntax error in line 34: only the rest of the cell was run."


@scenario
def a_syntax_error_that_others_need():
    lecture = Lecture().step("dhprebn", "dhprebn = dbndiff + / n")
    expected = {**missing("dhprebn"), **carried("dembcat", "dW1", "db1", "demb", "dC")}
    return lecture, expected, "a syntax error in line 27: only the rest"


@scenario
def a_syntax_error_in_one_cell_of_many():
    cells = [f"{source}\n{CALLS[name]}" for name, source in STEPS.items()]
    place = list(STEPS).index("dembcat")
    lecture = Lecture().split(
        "gradients", *cells[:place], f"dembcat = dhprebn W1.T\n{CALLS['dembcat']}", *cells[place + 1 :]
    )
    expected = {**missing("dembcat"), **carried("demb", "dC")}
    return lecture, expected, "isn't valid Python (see its line 1) and was not run."


@scenario
def what_cmp_printed_pasted_below_the_gradients():
    lecture = Lecture()
    lecture.cells["gradients"] += "\nlogprobs        | exact: True  | approximate: True  | maxdiff: 0.0"
    return lecture, {}, "Cell 10 has a syntax error in line"


@scenario
def a_syntax_error_in_the_training_loop():
    lecture = Lecture().replace("training", ("dW1 = embcat.T @ dhprebn", "dW1 = embcat.T @ @ dhprebn"))
    left = {f"{TRAIN}/{name}": "missing" for name in ("dW1", "W1")}
    left |= {f"{TRAIN}/{name}": "carried" for name in ("W2", "b2", "bngain", "bnbias")}
    return lecture, left, "Cell 15 has a syntax error in line 59: only the rest"


@scenario
def conflict_markers_in_a_source():
    lecture = Lecture().insert("gradients", "conflict", "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> theirs")
    return lecture, {}, "Cell 11 has git conflict markers in line 1 and was not run: resolve the conflict."


@scenario
def from_colab_with_its_metadata():
    lecture = Lecture()

    def colab(notebook):
        notebook["metadata"] = {"colab": {"provenance": [], "include_colab_link": True}, "accelerator": "GPU"}
        for number, cell in enumerate(notebook["cells"]):
            cell["metadata"] = {
                "id": f"x{number}YzAbC",
                "outputId": "0f",
                "colab": {"base_uri": "https://localhost:1/"},
            }

    lecture.finish = colab
    return lecture, {}, ""


@scenario
def from_vs_code_with_doubled_ids_and_a_kernel_called_myenv():
    lecture = Lecture()

    def vscode(notebook):
        notebook["nbformat_minor"] = 5
        notebook["metadata"] = {"kernelspec": {"display_name": "myenv", "name": "myenv"}, "orig_nbformat": 4}
        for cell in notebook["cells"]:
            cell["id"] = "the-same"
            cell["metadata"] = {"vscode": {"languageId": "python"}}

    lecture.finish = vscode
    return lecture, {}, ""


@scenario
def schema_invalid_as_jupyter_still_opens_it():
    lecture = Lecture()

    def spoil(notebook):
        notebook["metadata"] = None
        for number, cell in enumerate(notebook["cells"]):
            cell.pop("metadata")
            cell.pop("execution_count", None)
            cell["extra"] = [number]
            cell["source"] = "".join(cell["source"])

    lecture.finish = spoil
    return lecture, {}, ""


@scenario
def four_megabytes_of_figures():
    lecture = Lecture().insert("dlogits", "figure", "plt.imshow(dlogits.detach())")
    picture = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0KGgo" + "A" * 4_000_000}}
    lecture.outputs["figure"] = [picture]
    return lecture, {}, ""


# --- the runs


EVERYDAY = {
    "as_in_the_lecture", "everything_in_one_cell", "gradients_named_otherwise", "other_sizes_and_another_seed",
    "imports_of_modules_that_nobody_has",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS]
)
def test_published_notebooks_get_the_marks_they_deserve(name, mark):
    lecture, expected, said = SCENARIOS[name]()
    grading = mark(lecture.data())
    assert grading.grade.status == "graded", grading.grade.reason
    found = {f"{check.part}/{check.name}": check for check in grading.grade.checks}
    verdicts = {key: check.verdict.value for key, check in found.items() if not check.verdict.is_right}
    assert verdicts == expected, {key: (found[key].remark, found[key].diagnosis) for key in verdicts}
    remarks = [check.remark for check in found.values() if check.remark]
    assert any(said in text for text in [*grading.notes, *remarks]) or not said, grading.notes
    assert {flag.code for flag in grading.grade.flags} <= {"unchecked"}, grading.grade.flags


def test_a_comparison_that_other_names_make_impossible_is_a_sentence_and_no_traceback(mark):
    views = [view for view in mark(Lecture().data()).cells if view.part == TRAIN and not view.source]
    outputs = [output for view in views for output in view.outputs]
    assert not [output.content for output in outputs if output.kind == "error"]
    assert any("could not be made here (NameError: name 'before' is not defined)" in each.content for each in outputs)


def test_a_typo_beside_a_magic_is_named_and_tracebacks_show_the_students_lines(mark):
    typo = f"{CALLS['dprobs']}\n%time dcounts = counts_sum_inv * dprobs + dcount_sum"
    lecture = Lecture().step("dcounts", typo)
    lecture.cells["gradients"] = "%%capture\n" + lecture.cells["gradients"]
    grading = mark(lecture.data())
    (found,) = [check for check in grading.grade.checks if (check.part, check.name) == (ALL, "dcounts")]
    assert found.diagnosis is not None
    assert (found.diagnosis.code, "`dcount_sum`" in found.diagnosis.message) == ("unknown-name", True)
    traces = [output.content for view in grading.cells for output in view.outputs if output.kind == "error"]
    assert any("dcount_sum" in trace for trace in traces)
    assert not [trace for trace in traces if "contextlib" in trace]
