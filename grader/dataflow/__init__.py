"""Where a notebook's numbers come from, read from its source: `Flow` follows what autograd computed."""

from grader.dataflow.calls import Flow
from grader.dataflow.names import may_use_autograd
from grader.dataflow.values import Origin

__all__ = ["Flow", "Origin", "may_use_autograd"]
