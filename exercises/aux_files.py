"""The layers that the exercises' networks are made of, with the interface of the makemore lectures.

A layer is called on a tensor and returns one, keeps what it returned in `.out`, and lists the tensors that training
changes in `parameters()`. Layers never set `requires_grad`: whoever trains the network decides that.
New tensors have torch's default dtype; a layer whose parameters are replaced computes in the dtype of the new ones.
"""

from __future__ import annotations

import torch


class Linear:
    """A fully connected layer, `x @ weight + bias`.

    Args:
        fan_in: number of input features.
        fan_out: number of output features.
        bias: whether a bias is added; it begins at zero.

    Attributes:
        weight: (fan_in, fan_out), drawn from a normal distribution with standard deviation 1/sqrt(fan_in), which keeps
            the variance of the outputs near that of the inputs.
        bias: (fan_out,), or None.
        out: what the last call returned.
    """

    def __init__(self, fan_in: int, fan_out: int, bias: bool = True) -> None:
        self.weight = torch.randn(fan_in, fan_out) / fan_in**0.5
        self.bias = torch.zeros(fan_out) if bias else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., fan_in) to (..., fan_out)."""
        self.out: torch.Tensor = x @ self.weight
        if self.bias is not None:
            self.out = self.out + self.bias
        return self.out

    def parameters(self) -> list[torch.Tensor]:
        """The weight, and the bias where there is one."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]


class BatchNorm1d:
    """Batch normalization of a (batch, dim) tensor (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167).

    While `training` is True each feature is normalized by its mean and variance over the batch, and the running
    statistics move towards these two. Afterwards, with `training` set to False, the running statistics take their
    place, so that an example's output no longer depends on which others share its batch.

    The variance is the unbiased one, divided by batch - 1, in both places: the paper and torch.nn.BatchNorm1d divide by
    batch when they normalize and by batch - 1 for the running variance, the lecture uses batch - 1 throughout.

    Args:
        dim: number of features.
        eps: added to the variance, so that a feature that is constant in a batch does not divide by zero.
        momentum: share of a new batch's statistics in the running ones.

    Attributes:
        gamma: (dim,), the gain, begins at one.
        beta: (dim,), the bias, begins at zero.
        running_mean, running_var: (dim,), begin at zero and one. No gradient reaches them.
        training: see above; True at first.
        out: what the last call returned.
    """

    def __init__(self, dim: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.eps = eps
        self.momentum = momentum
        self.training = True
        self.gamma = torch.ones(dim)
        self.beta = torch.zeros(dim)
        self.running_mean = torch.zeros(dim)
        self.running_var = torch.ones(dim)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize (batch, dim) feature by feature; a batch in training needs at least two rows to have a variance."""
        if self.training:
            mean, var = x.mean(0), x.var(0, unbiased=True)
            self._remember(mean, var)
        else:
            mean, var = self.running_mean, self.running_var
        self.out = self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta
        return self.out

    def _remember(self, mean: torch.Tensor, var: torch.Tensor) -> None:
        with torch.no_grad():  # or every batch ever seen would stay alive in the graph of the running statistics
            self.running_mean = torch.lerp(self.running_mean.to(mean), mean, self.momentum)
            self.running_var = torch.lerp(self.running_var.to(var), var, self.momentum)

    def parameters(self) -> list[torch.Tensor]:
        """The gain and the bias: the running statistics are measured, not trained."""
        return [self.gamma, self.beta]


class Tanh:
    """The hyperbolic tangent, element by element.

    Attributes:
        out: what the last call returned.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map a tensor of any shape to one of the same shape, with values between -1 and 1."""
        self.out = torch.tanh(x)
        return self.out

    def parameters(self) -> list[torch.Tensor]:
        """Nothing to train here."""
        return []


class Embedding:
    """A table of vectors, one row for each symbol.

    Args:
        count: number of symbols.
        dim: length of a vector.

    Attributes:
        weight: (count, dim), drawn from a standard normal distribution.
        out: what the last call returned.
    """

    def __init__(self, count: int, dim: int) -> None:
        self.weight = torch.randn(count, dim)

    def __call__(self, ix: torch.Tensor) -> torch.Tensor:
        """Map symbols (...), integers below count, to their vectors (..., dim)."""
        self.out = self.weight[ix]
        return self.out

    def parameters(self) -> list[torch.Tensor]:
        """The table."""
        return [self.weight]


class Flatten:
    """All that belongs to an example, in one row.

    Attributes:
        out: what the last call returned.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, ...) to (batch, features)."""
        self.out = x.reshape(x.shape[0], -1)
        return self.out

    def parameters(self) -> list[torch.Tensor]:
        """Nothing to train here."""
        return []
