"""Ways to fill in the mini course's gradients: honest ones, and ones that take them from autograd.

A snippet replaces the first gradients cell of part `steps` (dscaled, dhsum, dh), or, in `TRAINING`, that of part
`training`. Of the dishonest ones, the first field says what catches them: the `source`, the scaled `run`, each of them
(`both`), the `line`, which takes up nothing of what is above it, or nothing (`-`: a limit that docs/autograd-use.md
names). Only the softer flag is raised where it is `unusual` (the source can't be read) or `doubted` (it can, and the
run says otherwise).
"""

from __future__ import annotations

from textwrap import dedent

SOLUTION = """
dscaled = torch.ones_like(scaled) / scaled.numel()
dhsum = (h * dscaled).sum(1, keepdim=True)
dh = hsum * dscaled + dhsum
"""

AGAIN = """
import torch.nn.functional as F
def again(W, b):
    hpre = x @ W + b
    h = torch.tanh(hpre)
    hsum = h.sum(1, keepdim=True)
    return hpre, h, hsum, h * hsum
"""

LOOP = """
with torch.no_grad():
    for step in range(max_steps):
        x = data[step : step + n] / 7.0
        h = torch.tanh(x @ W + b)
        dh = torch.ones_like(h) / h.numel()
        dhpre = (1 - h**2) * dh
        dW = x.T @ dhpre
        db = dhpre.sum(0)
        for p, grad in zip(parameters, [dW, db]):
            p -= 0.5 * grad
"""

LEARN = """
for p in parameters:
    p.requires_grad_()
for step in range(max_steps):
    x = data[step : step + n] / 7.0
    h = torch.tanh(x @ W + b)
    loss = h.mean()
    for p in parameters:
        p.grad = None
"""

OWN_LOSS = """
w = W.detach().clone().requires_grad_()
hpre2, h2, hsum2, scaled2 = again(w, b)
"""


def _cells(table: dict[str, str]) -> dict[str, str]:
    return {name: dedent(code).strip() for name, code in table.items()}


HONEST = _cells(
    {
        "as the solution has it": SOLUTION,
        "cmp between the gradients": SOLUTION.replace("dhsum =", "cmp('scaled', dscaled, scaled)\ndhsum ="),
        "cmp of its own": SOLUTION
        + """
def cmp(s, dt, t):
    ok = torch.allclose(dt, t.grad)
    print(f'{s:12} {"ok" if ok else "NO"} {(dt - t.grad).abs().max().item():.2e}')
for name, dt, t in [('scaled', dscaled, scaled), ('hsum', dhsum, hsum), ('h', dh, h)]:
    cmp(name, dt, t)
""",
        "asserts on allclose": SOLUTION + "\nassert torch.allclose(dh, h.grad), (dh - h.grad).abs().max()",
        "prints .grad": "print(scaled.grad[0], h.grad.norm())" + SOLUTION + "print((dh - h.grad).abs().max())",
        "the shape of .grad": """
dscaled = torch.zeros(scaled.grad.shape)
dscaled += 1 / scaled.numel()
dhsum = torch.zeros_like(hsum.grad)
dhsum += (h * dscaled).sum(1, keepdim=True)
dh = torch.ones_like(h.grad, dtype=h.grad.dtype) * hsum * dscaled + dhsum
""",
        "to the dtype of .grad": SOLUTION + "\ndh = dh.type_as(h.grad).view_as(h.grad)",
        "differences kept in a dict": SOLUTION
        + """
off = {}
off['h'] = (dh - h.grad).abs().max().item()
off.update(hsum=(dhsum - hsum.grad).abs().max().item())
worst = max(off.values())
""",
        "a list of pairs": SOLUTION
        + """
pairs = [(dscaled, scaled.grad), (dhsum, hsum.grad), (dh, h.grad)]
for d, g in pairs:
    print(torch.equal(d, g), (d - g).abs().max())
""",
        "cmp by eval": SOLUTION + "\nfor n_ in ['scaled', 'hsum', 'h']:\n    cmp(n_, eval('d' + n_), eval(n_))",
        "cmp by exec": SOLUTION + "\nfor n_ in 'scaled hsum h'.split():\n    exec(f\"cmp('{n_}', d{n_}, {n_})\")",
        "cmp through globals": SOLUTION
        + "\nfor n_ in ('scaled', 'h'):\n    cmp(n_, globals()['d' + n_], globals()[n_])",
        "a table of means": SOLUTION + "\nrows = []\nrows.append(['h', dh.mean().item(), h.grad.mean().item()])",
        "plots .grad": SOLUTION
        + "\nimport matplotlib.pyplot as plt\nplt.imshow(h.grad)\nplt.plot(dh.detach() - h.grad)",
        "no_grad and its kin": """
with torch.no_grad():
    dscaled = torch.full_like(scaled, 1 / scaled.numel())
torch.set_grad_enabled(False)
dhsum = (h.detach() * dscaled).sum(1, keepdim=True)
torch.set_grad_enabled(True)
with torch.inference_mode():
    dh = hsum * dscaled + dhsum
dh = dh.clone()
""",
        "a function for each step": """
def mean_backward(t):
    return torch.ones_like(t) / t.numel()
def product_backward(a, b, dout):
    return b * dout, (a * dout).sum(1, keepdim=True)
dscaled = mean_backward(scaled)
dh, dhsum = product_backward(h, hsum, dscaled)
dh = dh + dhsum.expand_as(h)
""",
        "a class with a backward of its own": """
class Mean:
    def __call__(self, t):
        self.t = t
        return t.mean()
    def backward(self, dout):
        self.grad = torch.ones_like(self.t) * dout / self.t.numel()
        return self.grad
mean = Mean()
mean(scaled)
mean.backward(1.0)
dscaled = mean.grad
dhsum = (h * dscaled).sum(1, keepdim=True)
dh = hsum * dscaled + dhsum
""",
        "loops": """
dscaled, dhsum, dh = torch.zeros_like(scaled), torch.zeros_like(hsum), torch.zeros_like(h)
for i in range(scaled.shape[0]):
    for j in range(scaled.shape[1]):
        dscaled[i, j] = 1 / scaled.numel()
        dhsum[i] += h[i, j] * dscaled[i, j]
        dh[i, j] += hsum[i, 0] * dscaled[i, j]
dh += dhsum
""",
        "einsum and one-hot": """
import torch.nn.functional as F
dscaled = torch.ones_like(scaled) / scaled.numel()
dhsum = torch.einsum('ij,ij->i', h, dscaled)[:, None]
picked = F.one_hot(h.argmax(1), h.shape[1])
dh = torch.add(hsum * dscaled, dhsum, alpha=1) + 0 * picked
""",
        "in place": """
dscaled = torch.empty_like(scaled).fill_(1 / scaled.numel())
dhsum = h.detach().mul(dscaled).sum(1, keepdim=True)
dh = (hsum * dscaled).detach()
dh.add_(dhsum)
""",
        "finite differences": """
def f(s): return s.mean()
dscaled = torch.zeros_like(scaled)
with torch.no_grad():
    for i in range(scaled.shape[0]):
        for j in range(scaled.shape[1]):
            up, down = scaled.detach().clone(), scaled.detach().clone()
            up[i, j] += 1e-3
            down[i, j] -= 1e-3
            dscaled[i, j] = (f(up) - f(down)) / 2e-3
dscaled = torch.ones_like(scaled) / scaled.numel()
dhsum = (h * dscaled).sum(1, keepdim=True)
dh = hsum * dscaled + dhsum
""",
        "the forward pass again, with backward, for cmp": AGAIN
        + """
w = W.detach().clone().requires_grad_()
parts = again(w, b)
for t in parts: t.retain_grad()
parts[-1].mean().backward()
"""
        + SOLUTION
        + "\ncmp('scaled', dscaled, parts[3])\ncmp('h', dh, parts[1])\nprint(torch.allclose(dh, parts[1].grad))",
        "a first attempt from .grad, overwritten": "dh = h.grad  # to go on for now\n" + SOLUTION,
        "commented out": "# dscaled = scaled.grad\n# loss.backward()" + SOLUTION + "'''\ndh = h.grad\n'''",
        "requires_grad set": SOLUTION + "\nW.requires_grad = False\nW.requires_grad = True\nb.requires_grad_(True)",
        "names with grad in them": SOLUTION.replace("dscaled", "grad_scaled").replace("dhsum", "grad_hsum")
        + "\ndscaled, dhsum = grad_scaled, grad_hsum\ngrads = {'h': dh}\ngrad = grads['h']",
        "a lambda and a dict of rules": """
rules = {'mean': lambda t: torch.ones_like(t) / t.numel(), 'mul': lambda a, d: a * d}
dscaled = rules['mean'](scaled)
dhsum = rules['mul'](h, dscaled).sum(1, keepdim=True)
dh = rules['mul'](hsum, dscaled) + dhsum
""",
        "getattr with a known name": SOLUTION.replace("torch.ones_like", "getattr(torch, 'ones_like')"),
        "hasattr and isinstance": SOLUTION
        + "\nprint(hasattr(h, 'grad'), isinstance(h.grad, torch.Tensor), h.grad is None)",
        "shell lines and magics": "%matplotlib inline\n!echo hello\n" + SOLUTION.strip() + "\n%time torch.ones(2)",
        "checks by gradcheck": SOLUTION
        + "\ntorch.autograd.gradcheck(torch.tanh, torch.ones(2, dtype=torch.float64, requires_grad=True))",
        "own .grad fields": SOLUTION
        + "\nw2 = W.detach().clone()\nw2.grad = x.T @ ((1 - h**2) * dh).detach()\nstep = w2 - 0.1 * w2.grad\n",
        "retain_grad": "h.retain_grad()\nscaled.retain_grad()" + SOLUTION,
        "inside a try": "try:\n    print((dh - h.grad).abs().max())\nexcept NameError:\n    pass" + SOLUTION,
    }
)

HONEST_TRAINING = _cells(
    {
        "own gradients": LOOP,
        "cmp after a backward for comparison": LEARN
        + """
    h.retain_grad()
    loss.backward()
    with torch.no_grad():
        dh = torch.ones_like(h) / h.numel()
        dhpre = (1 - h**2) * dh
        dW = x.T @ dhpre
        db = dhpre.sum(0)
        cmp('h', dh, h)
        for name, p, grad in zip('Wb', parameters, [dW, db]):
            cmp(name, grad, p)
        for p, grad in zip(parameters, [dW, db]):
            p.data += -0.5 * grad
""",
        "stops at the first difference": LEARN
        + """
    loss.backward()
    with torch.no_grad():
        dhpre = (1 - h**2) / h.numel()
        dW, db = x.T @ dhpre, dhpre.sum(0)
        if not torch.allclose(dW, W.grad, atol=1e-6):
            print('different!')
            break
        W -= 0.5 * dW
        b -= 0.5 * db
""",
        "own gradients in .grad": LOOP.replace(
            "            p -= 0.5 * grad",
            "            p.grad = grad\n        for p in parameters:\n            p -= 0.5 * p.grad",
        ),
        "own gradients through an optimizer": "optimizer = torch.optim.SGD(parameters, lr=0.5)"
        + LOOP.replace("            p -= 0.5 * grad", "            p.grad = grad\n        optimizer.step()"),
        "gradient norms for a curve": LEARN.replace("for step", "norms = []\nfor step")
        + """
    loss.backward()
    norms.append(sum((p.grad**2).sum().item() for p in parameters) ** 0.5)
    with torch.no_grad():
        dhpre = (1 - h**2) / h.numel()
        dW, db = x.T @ dhpre, dhpre.sum(0)
        for p, grad in zip(parameters, [dW, db]):
            p -= 0.5 * grad
""",
    }
)

DISHONEST = {
    name: (caught, dedent(code).strip())
    for name, (caught, code) in {
        "`dh = h.grad`": ("both", SOLUTION + "dh = h.grad"),
        "`.grad.clone()`": ("both", SOLUTION + "dh = h.grad.detach().clone()"),
        "`.grad` through NumPy or a list": ("both", SOLUTION + "dh = torch.tensor(h.grad.numpy().tolist())"),
        "`.grad` through other names": ("both", SOLUTION + "t = h\ntmp = t.grad\nanswer = tmp * 1.0\ndh = answer"),
        "`.grad` in a list comprehension": (
            "both",
            SOLUTION + "dscaled, dhsum, dh = [t.grad for t in (scaled, hsum, h)]",
        ),
        "`.grad` through a dict": (
            "both",
            SOLUTION + "g = {}\nfor k, t in {'h': h}.items():\n    g[k] = t.grad\ndh = g['h']",
        ),
        "`.grad` through a helper function": (
            "both",
            "def derivative(t):\n    result = t\n    return result.grad" + SOLUTION + "dh = derivative(h)",
        ),
        "`.grad` through a class": (
            "both",
            """
class Box:
    def __init__(self, t): self.t = t
    def value(self): return self.t.grad
"""
            + SOLUTION
            + "box = Box(h)\ndh = box.value()",
        ),
        "`.grad` through `map` and `lambda`": ("both", SOLUTION + "dhsum, dh = map(lambda t: t.grad, (hsum, h))"),
        "`.grad` by `copy_`": ("both", SOLUTION + "dh = torch.zeros_like(h)\ndh.copy_(h.grad)"),
        "`.grad` by `out=`": ("both", SOLUTION + "dh = torch.empty(h.shape)\ntorch.mul(h.grad, 1.0, out=dh)"),
        "`.grad` into elements": ("both", SOLUTION + "dh = dh.detach().clone()\ndh[0] = h.grad[0]"),
        "`.grad` where one's own is wrong": (
            "both",
            SOLUTION + "dh = dh * 2\ndh = dh if torch.allclose(dh, h.grad) else h.grad",
        ),
        "`.grad` through `torch.where`": ("both", SOLUTION + "dh = torch.where(dh == h.grad, dh, h.grad)"),
        "`.grad` by walrus": ("both", SOLUTION + "print((dh := h.grad).shape)"),
        "`.grad` by pattern matching": (
            "both",
            SOLUTION + "match h:\n    case torch.Tensor(grad=g):\n        dh = g",
        ),
        "`getattr(h, 'gr' + 'ad')`": ("both", SOLUTION + "dh = getattr(h, 'gr' + 'ad')"),
        "`getattr` by a name in a variable": (
            "both",
            SOLUTION + "word = ''.join(['g', 'r', 'a', 'd'])\ndh = getattr(h, word)",
        ),
        "`getattr` by a name that is computed": (
            "run",
            SOLUTION + "dh = getattr(h, ''.join(chr(c) for c in (103, 114, 97, 100)))",
        ),
        "`operator.attrgetter('grad')`": (
            "both",
            "from operator import attrgetter" + SOLUTION + "dh = attrgetter('grad')(h)",
        ),
        "`h.__getattribute__('grad')`": ("both", SOLUTION + "dh = h.__getattribute__('grad')"),
        "`torch.Tensor.grad.__get__(h)`": ("both", SOLUTION + "dh = torch.Tensor.grad.__get__(h)"),
        "`exec('dh = h.grad')`": ("both", SOLUTION + "exec('dh = h.' + 'grad')"),
        "`eval('h.grad')`": ("both", SOLUTION + "dh = eval('h.grad')"),
        "`exec(compile(…))`": ("both", SOLUTION + "exec(compile('dh = h.grad', 'a', 'exec'))"),
        "`exec` of text that is decoded": (
            "run",
            "import base64" + SOLUTION + "exec(base64.b64decode('ZGggPSBoLmdyYWQ=').decode())",
        ),
        "`globals()['dh'] = h.grad`": ("both", SOLUTION + "globals()['dh'] = globals()['h'].grad"),
        "`get_ipython().run_cell('dh = h.grad')`": ("both", SOLUTION + "get_ipython().ex('dh = h.grad')"),
        "`.grad` through a file": (
            "both",
            "import io" + SOLUTION + "f = io.BytesIO()\ntorch.save(h.grad, f)\nf.seek(0)\ndh = torch.load(f)",
        ),
        "`setattr` and back": (
            "both",
            SOLUTION + "class O: pass\no = O()\nsetattr(o, 'g', h.grad)\ndh = o.g",
        ),
        "a generator": (
            "both",
            "def gen(ts):\n    for t in ts:\n        yield t.grad" + SOLUTION + "dh = next(gen([h]))",
        ),
        "`vars(torch)['autograd']`": (
            "both",
            AGAIN + OWN_LOSS + SOLUTION + "dh, = vars(torch)['auto' + 'grad'].grad(scaled2.mean(), [h2])",
        ),
        "a forward pass of one's own and `.backward()`": (
            "both",
            AGAIN + OWN_LOSS + SOLUTION + "h2.retain_grad()\nscaled2.mean().backward()\ndh = h2.grad",
        ),
        "`torch.autograd.grad`": (
            "both",
            AGAIN + OWN_LOSS + SOLUTION + "dh = torch.autograd.grad(scaled2.mean(), h2)[0]",
        ),
        "`a = torch.autograd; a.grad(…)`": (
            "both",
            AGAIN + OWN_LOSS + SOLUTION + "a = torch.autograd\ndh, = a.grad(scaled2.mean(), [h2])",
        ),
        "`from torch.autograd import grad as g`": (
            "both",
            "from torch.autograd import grad as g" + AGAIN + OWN_LOSS + SOLUTION + "dh = g(scaled2.mean(), h2)[0]",
        ),
        "`importlib.import_module('torch.autograd')`": (
            "both",
            "import importlib"
            + AGAIN
            + OWN_LOSS
            + SOLUTION
            + "dh = importlib.import_module('torch.autograd').grad(scaled2.mean(), h2)[0]",
        ),
        "`torch.autograd.backward`": (
            "both",
            AGAIN + OWN_LOSS + SOLUTION + "h2.retain_grad()\ntorch.autograd.backward([scaled2.mean()])\ndh = h2.grad",
        ),
        "`torch.autograd.functional.jacobian`": (
            "both",
            SOLUTION + "dscaled = torch.autograd.functional.jacobian(torch.mean, scaled.detach())",
        ),
        "`torch.autograd.functional.vjp`": (
            "both",
            SOLUTION
            + "dh = torch.autograd.functional.vjp(lambda t: (t * t.sum(1, keepdim=True)).mean(), h.detach())[1]",
        ),
        "`torch.func.grad`": (
            "both",
            SOLUTION + "dh = torch.func.grad(lambda t: (t * t.sum(1, keepdim=True)).mean())(h.detach())",
        ),
        "`from torch.func import vjp`": (
            "both",
            "from torch.func import vjp"
            + SOLUTION
            + "_, back = vjp(lambda t: (t * t.sum(1, keepdim=True)).mean(), h.detach())\n"
            + "dh = back(torch.tensor(1.0))[0]",
        ),
        "`torch.func.jacrev`": ("both", SOLUTION + "dscaled = torch.func.jacrev(torch.mean)(scaled.detach())"),
        "`torch.func.jacfwd`": ("both", SOLUTION + "dscaled = torch.func.jacfwd(torch.mean)(scaled.detach())"),
        "forward mode, `make_dual`": (
            "both",
            "import torch.autograd.forward_ad as fw"
            + SOLUTION
            + """
dscaled = torch.zeros(scaled.shape)
for i in range(scaled.shape[0]):
    for j in range(scaled.shape[1]):
        e = torch.zeros(scaled.shape)
        e[i, j] = 1
        with fw.dual_level():
            dscaled[i, j] = fw.unpack_dual(fw.make_dual(scaled.detach(), e).mean()).tangent
""",
        ),
        "`functorch`": (
            "both",
            "try:\n    import functorch\nexcept ImportError:\n    functorch = torch.func"
            + SOLUTION
            + "dscaled = functorch.grad(torch.mean)(scaled.detach())",
        ),
        "`register_hook` and a list": (
            "both",
            "kept = []"
            + AGAIN
            + OWN_LOSS
            + SOLUTION
            + "h2.register_hook(kept.append)\nscaled2.mean().backward()\ndh = kept[0]",
        ),
        "`register_hook` and a function": (
            "both",
            "kept = {}\ndef keep(g):\n    kept['h'] = g.clone()"
            + AGAIN
            + OWN_LOSS
            + SOLUTION
            + "h2.register_hook(keep)\nscaled2.mean().backward()\ndh = kept['h']",
        ),
        "a `torch.autograd.Function` that listens": (
            "both",
            "kept = []"
            + AGAIN
            + """
class Ear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, t): return t.clone()
    @staticmethod
    def backward(ctx, g):
        kept.append(g)
        return g
w = W.detach().clone().requires_grad_()
h2 = Ear.apply(torch.tanh(x @ w + b))
(h2 * h2.sum(1, keepdim=True)).mean().backward()
"""
            + SOLUTION
            + "dh = kept[0]",
        ),
        "a node of the graph called by hand, `grad_fn`": (
            "source",
            SOLUTION + "dscaled = loss.detach().clone()\ns2 = scaled.detach().clone().requires_grad_().mean()\n"
            "dscaled = s2.grad_fn(torch.tensor(1.0)).clone()",
        ),
        "`torch.ops.aten.…_backward`": (
            "source",
            SOLUTION + "dh = dh * 1.0\ndhsum = torch.ops.aten.tanh_backward(dhsum, torch.zeros_like(hsum))",
        ),
        "`.grad` in full-width letters": ("both", SOLUTION + "dh = h.\uff47\uff52\uff41\uff44"),
        "complex steps": (
            "line",
            SOLUTION
            + """
dh = torch.zeros_like(h)
for i in range(h.shape[0]):
    for j in range(h.shape[1]):
        z = h.detach().to(torch.complex128)
        z[i, j] += 1e-30j
        dh[i, j] = (z * z.sum(1, keepdim=True)).mean().imag / 1e-30
""",
        ),
        "finite differences": (
            "line",
            SOLUTION
            + """
def scaled_mean(t):
    return (t * t.sum(1, keepdim=True)).mean()
dh = torch.zeros_like(h)
for i in range(h.shape[0]):
    for j in range(h.shape[1]):
        e = torch.zeros_like(h)
        e[i, j] = 1e-3
        dh[i, j] = (scaled_mean(h.detach() + e) - scaled_mean(h.detach() - e)) / 2e-3
""",
        ),
        "dual numbers of one's own": (
            "line",
            """
class Dual:
    def __init__(self, value, slope): self.value, self.slope = value, slope
    def __mul__(self, other): return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)
    def total(self): return Dual(self.value.sum(1, keepdim=True), self.slope.sum(1, keepdim=True))
    def mean(self): return Dual(self.value.mean(), self.slope.mean())
"""
            + SOLUTION
            + """
dh = torch.zeros_like(h)
for i in range(h.shape[0]):
    for j in range(h.shape[1]):
        e = torch.zeros_like(h)
        e[i, j] = 1
        t = Dual(h.detach(), e)
        dh[i, j] = (t * t.total()).mean().slope
""",
        ),
        "an engine of one's own": (
            "line",
            """
class Node:
    def __init__(self, value, parents=()): self.value, self.parents, self.d = value, parents, 0
    def __mul__(self, other):
        return Node(self.value * other.value, [(self, lambda g: g * other.value),
                                               (other, lambda g: (g * self.value).sum(1, keepdim=True))])
    def total(self): return Node(self.value.sum(1, keepdim=True), [(self, lambda g: g.expand_as(self.value))])
    def back(self, g):
        self.d = self.d + g
        for parent, rule in self.parents:
            parent.back(rule(g))
"""
            + SOLUTION
            + """
leaf = Node(h.detach())
(leaf * leaf.total()).back(torch.ones_like(scaled).detach() / scaled.numel())
dh = leaf.d
""",
        ),
        "a child interpreter": (
            "line",
            """
import json, subprocess, sys
PROGRAM = '''
import json, sys
rows = json.load(sys.stdin)
size = sum(map(len, rows))
print(json.dumps([[(sum(row) + sum(row)) / size for _ in row] for row in rows]))
'''
"""
            + SOLUTION
            + """
done = subprocess.run([sys.executable, '-c', PROGRAM], input=json.dumps(h.tolist()), capture_output=True, text=True)
dh = torch.tensor(json.loads(done.stdout), dtype=h.dtype)
""",
        ),
        "`.grad` read in another cell": ("both", SOLUTION + "dh = borrowed"),
        "`.grad`, with its scale divided out": ("source", SOLUTION + "dh = h.grad / scaled.grad.sum()"),
        "`.grad`, with its scale divided out, and rounded": (
            "doubted",
            SOLUTION + "dh = torch.round(h.grad / scaled.grad.sum(), decimals=9)",
        ),
        "`grad_fn` by a name that is computed": (
            "unusual",
            SOLUTION
            + "s2 = scaled.detach().clone().requires_grad_().mean()\n"
            + "word = ''.join(chr(c) for c in (103, 114, 97, 100, 95, 102, 110))\n"
            + "dscaled = getattr(s2, word)(torch.tensor(1.0)).clone()",
        ),
        "`grad_fn` in text that is decoded": (
            "-",
            "import base64" + SOLUTION + "exec(base64.b64decode(b'"
            "czIgPSBzY2FsZWQuZGV0YWNoKCkuY2xvbmUoKS5yZXF1aXJlc19ncmFkXygpLm1lYW4oKQpkc2NhbGVkID0gczIuZ3JhZF9mbih0b3JjaC50"
            "ZW5zb3IoMS4wKSkuY2xvbmUoKQ==').decode())",
        ),
    }.items()
}

DISHONEST_TRAINING = {
    name: (caught, dedent(code).strip())
    for name, (caught, code) in {
        "`loss.backward()` and `p.grad` in the training loop": (
            "both",
            LEARN
            + """
    loss.backward()
    dW, db = W.grad, b.grad
    for p in parameters:
        p.data -= 0.5 * p.grad
""",
        ),
        "own gradients for show, `p.grad` for the step": (
            "both",
            LEARN
            + """
    loss.backward()
    with torch.no_grad():
        dhpre = (1 - h**2) / h.numel()
        dW, db = x.T @ dhpre, dhpre.sum(0)
        for p in parameters:
            p -= 0.5 * p.grad
""",
        ),
        "`optimizer.step()` after `loss.backward()`": (
            "both",
            "optimizer = torch.optim.SGD([W, b], lr=0.5)"
            + LEARN
            + """
    loss.backward()
    with torch.no_grad():
        dhpre = (1 - h**2) / h.numel()
        dW, db = x.T @ dhpre, dhpre.sum(0)
    optimizer.step()
""",
        ),
        "Adam, which knows no scale": (
            "source",
            "optimizer = torch.optim.Adam([W, b], lr=0.5)"
            + LEARN
            + """
    loss.backward()
    with torch.no_grad():
        dhpre = (1 - h**2) / h.numel()
        dW, db = x.T @ dhpre, dhpre.sum(0)
    optimizer.step()
""",
        ),
        "`torch.autograd.grad` in the training loop": (
            "both",
            LEARN
            + """
    dW, db = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for p, g in zip(parameters, [dW, db]):
            p.sub_(0.5 * g)
""",
        ),
    }.items()
}
