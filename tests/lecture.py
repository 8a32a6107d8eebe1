"""Notebooks in the manner of published attempts at the lecture's own: invented, and without any of our metadata.

`Lecture` begins as a whole and right attempt, as its author might have published it. Scenarios change it: they split
and merge cells, rename, forget, try again. Cells are known by the keys of `CELLS`, and hold plain source text.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

IMPORTS = """\
import torch
import torch.nn.functional as F
import matplotlib.pyplot as plt # to draw with
%matplotlib inline
"""
WORDS = """\
# all the names
words = open('names.txt', 'r').read().splitlines()
print(len(words))
print(max(len(w) for w in words))
print(words[:8])
"""
VOCABULARY = """\
# the characters and their numbers
chars = sorted(list(set(''.join(words))))
stoi = {s:i+1 for i,s in enumerate(chars)}
stoi['.'] = 0
itos = {i:s for s,i in stoi.items()}
vocab_size = len(itos)
print(itos)
print(vocab_size)
"""
DATASET = """\
block_size = 3 # how far the model looks back

def build_dataset(words):
  X, Y = [], []

  for w in words:
    context = [0] * block_size
    for ch in w + '.':
      ix = stoi[ch]
      X.append(context)
      Y.append(ix)
      context = context[1:] + [ix]

  X = torch.tensor(X)
  Y = torch.tensor(Y)
  print(X.shape, Y.shape)
  return X, Y

import random
random.seed(42)
random.shuffle(words)
n1 = int(0.8*len(words))
n2 = int(0.9*len(words))

Xtr,  Ytr  = build_dataset(words[:n1])     # four fifths
Xdev, Ydev = build_dataset(words[n1:n2])   # a tenth
Xte,  Yte  = build_dataset(words[n2:])     # and the last tenth
"""
CMP = """\
# compares a hand-made gradient with the one that autograd found
def cmp(s, dt, t):
  ex = torch.all(dt == t.grad).item()
  app = torch.allclose(dt, t.grad)
  maxdiff = (dt - t.grad).abs().max().item()
  print(f'{s:15s} | exact: {str(ex):5s} | approximate: {str(app):5s} | maxdiff: {maxdiff}')
"""
NETWORK = """\
n_embd = 10 # size of an embedding
n_hidden = 64 # neurons of the hidden layer

g = torch.Generator().manual_seed(2147483647)
C  = torch.randn((vocab_size, n_embd),            generator=g)
# Layer 1
W1 = torch.randn((n_embd * block_size, n_hidden), generator=g) * (5/3)/((n_embd * block_size)**0.5)
b1 = torch.randn(n_hidden,                        generator=g) * 0.1 # of no use, but good for a test
# Layer 2
W2 = torch.randn((n_hidden, vocab_size),          generator=g) * 0.1
b2 = torch.randn(vocab_size,                      generator=g) * 0.1
# BatchNorm
bngain = torch.randn((1, n_hidden))*0.1 + 1.0
bnbias = torch.randn((1, n_hidden))*0.1

parameters = [C, W1, b1, W2, b2, bngain, bnbias]
print(sum(p.nelement() for p in parameters)) # how many numbers
for p in parameters:
  p.requires_grad = True
"""
BATCH = """\
batch_size = 32
n = batch_size # shorter
ix = torch.randint(0, Xtr.shape[0], (batch_size,), generator=g)
Xb, Yb = Xtr[ix], Ytr[ix] # one batch
"""
FORWARD = """\
# forward, in steps small enough to go back one by one

emb = C[Xb] # embed
embcat = emb.view(emb.shape[0], -1) # concatenate
# Linear layer 1
hprebn = embcat @ W1 + b1
# BatchNorm layer
bnmeani = 1/n*hprebn.sum(0, keepdim=True)
bndiff = hprebn - bnmeani
bndiff2 = bndiff**2
bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True) # n-1: Bessel
bnvar_inv = (bnvar + 1e-5)**-0.5
bnraw = bndiff * bnvar_inv
hpreact = bngain * bnraw + bnbias
# tanh
h = torch.tanh(hpreact)
# Linear layer 2
logits = h @ W2 + b2
# cross entropy
logit_maxes = logits.max(1, keepdim=True).values
norm_logits = logits - logit_maxes # for the sake of exp
counts = norm_logits.exp()
counts_sum = counts.sum(1, keepdims=True)
counts_sum_inv = counts_sum**-1
probs = counts * counts_sum_inv
logprobs = probs.log()
loss = -logprobs[range(n), Yb].mean()

# autograd's backward pass
for p in parameters:
  p.grad = None
for t in [logprobs, probs, counts, counts_sum, counts_sum_inv, # keep all of their gradients
          norm_logits, logit_maxes, logits, h, hpreact, bnraw,
         bnvar_inv, bnvar, bndiff2, bndiff, hprebn, bnmeani,
         embcat, emb]:
  t.retain_grad()
loss.backward()
loss
"""
STEPS: dict[str, str] = {
    "dlogprobs": "dlogprobs = torch.zeros_like(logprobs)\ndlogprobs[range(n), Yb] = -1.0/n",
    "dprobs": "dprobs = (1.0 / probs) * dlogprobs",
    "dcounts_sum_inv": "dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)",
    "dcounts_sum": "dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv",
    "dcounts": "dcounts = counts_sum_inv * dprobs\ndcounts += torch.ones_like(counts) * dcounts_sum",
    "dnorm_logits": "dnorm_logits = counts * dcounts",
    "dlogit_maxes": "dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)",
    "dlogits": (
        "dlogits = dnorm_logits.clone()\n"
        "dlogits += F.one_hot(logits.max(1).indices, num_classes=logits.shape[1]) * dlogit_maxes"
    ),
    "dh": "dh = dlogits @ W2.T",
    "dW2": "dW2 = h.T @ dlogits",
    "db2": "db2 = dlogits.sum(0)",
    "dhpreact": "dhpreact = (1.0 - h**2) * dh",
    "dbngain": "dbngain = (bnraw * dhpreact).sum(0, keepdim=True)",
    "dbnbias": "dbnbias = dhpreact.sum(0, keepdim=True)",
    "dbnraw": "dbnraw = bngain * dhpreact",
    "dbnvar_inv": "dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)",
    "dbnvar": "dbnvar = (-0.5*(bnvar + 1e-5)**-1.5) * dbnvar_inv",
    "dbndiff2": "dbndiff2 = (1.0/(n-1))*torch.ones_like(bndiff2) * dbnvar",
    "dbndiff": "dbndiff = bnvar_inv * dbnraw\ndbndiff += (2*bndiff) * dbndiff2",
    "dbnmeani": "dbnmeani = (-dbndiff).sum(0, keepdim=True)",
    "dhprebn": "dhprebn = dbndiff.clone()\ndhprebn += 1.0/n * (torch.ones_like(hprebn) * dbnmeani)",
    "dembcat": "dembcat = dhprebn @ W1.T",
    "dW1": "dW1 = embcat.T @ dhprebn",
    "db1": "db1 = dhprebn.sum(0)",
    "demb": "demb = dembcat.view(emb.shape)",
    "dC": (
        "dC = torch.zeros_like(C)\n"
        "for k in range(Xb.shape[0]):\n"
        "  for j in range(Xb.shape[1]):\n"
        "    dC[Xb[k,j]] += demb[k,j]"
    ),
}
"""Exercise 1, a gradient at a time."""
CALLS = {name: f"cmp('{name[1:]}', {name}, {name[1:]})" for name in STEPS}
GRADIENTS = "\n".join(
    [
        "# Exercise 1: all of it, from the loss back to the embedding",
        "# " + "-" * 40,
        *STEPS.values(),
        "",
        *CALLS.values(),
    ]
)
FAST_LOSS = """\
# Exercise 2: the loss at once

# forward
loss_fast = F.cross_entropy(logits, Yb)
print(loss_fast.item(), 'diff:', (loss_fast - loss).item())
"""
DLOGITS = """\
# backward
dlogits = F.softmax(logits, 1)
dlogits[range(n), Yb] -= 1
dlogits /= n

cmp('logits', dlogits, logits) # the difference should be about 6e-9
"""
FAST_NORM = """\
# Exercise 3: batch norm at once

# forward
std = torch.sqrt(hprebn.var(0, keepdim=True, unbiased=True) + 1e-5)
hpreact_fast = bngain * (hprebn - hprebn.mean(0, keepdim=True)) / std + bnbias
print('max diff:', (hpreact_fast - hpreact).abs().max())
"""
DHPREBN = """\
# backward: from dhpreact
dhprebn = bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0) - n/(n-1)*bnraw*(dhpreact*bnraw).sum(0))

cmp('hprebn', dhprebn, hprebn)
"""
TRAINING = """\
# Exercise 4: train with it

# init
n_embd = 10
n_hidden = 200

g = torch.Generator().manual_seed(2147483647)
C  = torch.randn((vocab_size, n_embd),            generator=g)
W1 = torch.randn((n_embd * block_size, n_hidden), generator=g) * (5/3)/((n_embd * block_size)**0.5)
b1 = torch.randn(n_hidden,                        generator=g) * 0.1
W2 = torch.randn((n_hidden, vocab_size),          generator=g) * 0.1
b2 = torch.randn(vocab_size,                      generator=g) * 0.1
bngain = torch.randn((1, n_hidden))*0.1 + 1.0
bnbias = torch.randn((1, n_hidden))*0.1

parameters = [C, W1, b1, W2, b2, bngain, bnbias]
print(sum(p.nelement() for p in parameters))
for p in parameters:
  p.requires_grad = True

# the same again, many times
max_steps = 200000
batch_size = 32
n = batch_size
lossi = []

with torch.no_grad():
  for i in range(max_steps):

    # a batch
    ix = torch.randint(0, Xtr.shape[0], (batch_size,), generator=g)
    Xb, Yb = Xtr[ix], Ytr[ix]

    # forward
    emb = C[Xb]
    embcat = emb.view(emb.shape[0], -1)
    hprebn = embcat @ W1 + b1
    bnmean = hprebn.mean(0, keepdim=True)
    bnvar = hprebn.var(0, keepdim=True, unbiased=True)
    bnvar_inv = (bnvar + 1e-5)**-0.5
    bnraw = (hprebn - bnmean) * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    loss = F.cross_entropy(logits, Yb)

    # backward, by hand
    dlogits = F.softmax(logits, 1)
    dlogits[range(n), Yb] -= 1
    dlogits /= n
    dh = dlogits @ W2.T
    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1.0 - h**2) * dh
    dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
    dbnbias = dhpreact.sum(0, keepdim=True)
    dhprebn = bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0) - n/(n-1)*bnraw*(dhpreact*bnraw).sum(0))
    dembcat = dhprebn @ W1.T
    dW1 = embcat.T @ dhprebn
    db1 = dhprebn.sum(0)
    demb = dembcat.view(emb.shape)
    dC = torch.zeros_like(C)
    for k in range(Xb.shape[0]):
      for j in range(Xb.shape[1]):
        dC[Xb[k,j]] += demb[k,j]
    grads = [dC, dW1, db1, dW2, db2, dbngain, dbnbias]

    # update
    lr = 0.1 if i < 100000 else 0.01
    for p, grad in zip(parameters, grads):
      p.data += -lr * grad

    if i % 10000 == 0:
      print(f'{i:7d}/{max_steps:7d}: {loss.item():.4f}')
    lossi.append(loss.log10().item())
"""
CALIBRATE = """\
# the batch norm's statistics, once, after training
with torch.no_grad():
  emb = C[Xtr]
  embcat = emb.view(emb.shape[0], -1)
  hpreact = embcat @ W1 + b1
  bnmean = hpreact.mean(0, keepdim=True)
  bnvar = hpreact.var(0, keepdim=True, unbiased=True)
"""
EVALUATE = """\
@torch.no_grad() # nothing is differentiated here
def split_loss(split):
  x, y = {'train': (Xtr, Ytr), 'val': (Xdev, Ydev), 'test': (Xte, Yte)}[split]
  hpreact = C[x].view(x.shape[0], -1) @ W1 + b1
  h = torch.tanh(bngain * (hpreact - bnmean) * (bnvar + 1e-5)**-0.5 + bnbias)
  print(split, F.cross_entropy(h @ W2 + b2, y).item())

split_loss('train')
split_loss('val')
"""
PROSE = "## Becoming a backprop ninja\n\nMy attempt at part 4 of the series. I took three evenings."

CELLS: dict[str, str] = {
    "imports": IMPORTS, "words": WORDS, "vocabulary": VOCABULARY, "dataset": DATASET, "cmp": CMP, "network": NETWORK,
    "batch": BATCH, "forward": FORWARD, "gradients": GRADIENTS, "fast-loss": FAST_LOSS, "dlogits": DLOGITS,
    "fast-norm": FAST_NORM, "dhprebn": DHPREBN, "training": TRAINING, "calibrate": CALIBRATE, "evaluate": EVALUATE,
}  # fmt: skip

Outputs = list[dict[str, Any]]


class Lecture:
    """A notebook in the making: cells by key, in order; `kinds` and `outputs` of those that are more than code."""

    def __init__(self) -> None:
        self.cells = dict(CELLS)
        self.kinds: dict[str, str] = {"prose": "markdown"}
        self.outputs: dict[str, Outputs] = {}
        self.file: dict[str, Any] = {
            "nbformat": 4,
            "nbformat_minor": 0,
            "metadata": {"kernelspec": {"name": "python3"}},
        }
        self.finish: Callable[[dict[str, Any]], None] = lambda notebook: None
        self.insert("imports", "prose", PROSE, before=True)

    def replace(self, key: str, *changes: tuple[str, str]) -> Lecture:
        """Change the text of a cell; every change must find its place."""
        for old, new in changes:
            assert old in self.cells[key], f"{key} holds no {old!r}"
            self.cells[key] = self.cells[key].replace(old, new)
        return self

    def everywhere(self, old: str, new: str) -> Lecture:
        """Change a text in all cells."""
        self.cells = {key: source.replace(old, new) for key, source in self.cells.items()}
        return self

    def insert(self, key: str, name: str, source: str, *, before: bool = False) -> Lecture:
        """Put a new cell behind (or before) another."""
        cells = {}
        for each, text in self.cells.items():
            pair = [(each, text), (name, source)]
            cells.update(pair[::-1] if before and each == key else pair if each == key else pair[:1])
        self.cells = cells
        return self

    def split(self, key: str, *sources: str) -> Lecture:
        """Put several cells in the place of one."""
        cells = {}
        for each, text in self.cells.items():
            cells.update({f"{key}-{i}": source for i, source in enumerate(sources)} if each == key else {each: text})
        self.cells = cells
        return self

    def merge(self, *keys: str) -> Lecture:
        """Join cells, in the place of the first."""
        text = "\n".join(self.cells[key] for key in keys)
        self.cells = {key: text if key == keys[0] else source for key, source in self.cells.items()
                      if key not in keys[1:]}  # fmt: skip
        return self

    def drop(self, *keys: str) -> Lecture:
        """Leave cells out."""
        self.cells = {key: source for key, source in self.cells.items() if key not in keys}
        return self

    def move(self, key: str, *, behind: str) -> Lecture:
        """Put a cell somewhere else."""
        source = self.cells.pop(key)
        return self.insert(behind, key, source)

    def step(self, name: str, source: str) -> Lecture:
        """Write one gradient of exercise 1 otherwise."""
        return self.replace("gradients", (STEPS[name], source))

    def notebook(self) -> dict[str, Any]:
        """The notebook as parsed JSON."""
        cells = []
        for key, source in self.cells.items():
            kind = self.kinds.get(key, "code")
            cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True)}
            if kind == "code":
                cell.update(execution_count=None, outputs=copy.deepcopy(self.outputs.get(key, [])))
            cells.append(cell)
        notebook = {**copy.deepcopy(self.file), "cells": cells}
        self.finish(notebook)
        return notebook

    def data(self) -> bytes:
        """The file."""
        return json.dumps(self.notebook(), indent=1).encode()


def stream(*lines: str) -> Outputs:
    """The output of a cell that printed lines."""
    return [{"output_type": "stream", "name": "stdout", "text": [f"{line}\n" for line in lines]}]


def cmp_line(name: str, approximate: bool, exact: bool = False, maxdiff: float = 0.0) -> str:
    """A line as the lecture's `cmp` prints it."""
    return f"{name:15s} | exact: {exact!s:5s} | approximate: {approximate!s:5s} | maxdiff: {maxdiff}"
