# promise: No reference value and no part of the grader but the probe is in the kernel's process.
# says: TRIED
import gc
import sys

for name in ("grader", "grader.course.reference", "grader.marking.verdicts", "grader.execution.tensors"):
    try:
        __import__(name)
    except ImportError:
        continue
    module = sys.modules[name]
    stub = name == "grader" and not hasattr(module, "__path__")  # what makes `%check` do nothing in a grader's kernel
    if not stub and len(list(getattr(module, "__path__", [None]))) and getattr(module, "__file__", None):
        print("ESCAPED", name)
kinds = {type(thing).__name__ for thing in gc.get_objects()}
print("ESCAPED" if kinds & {"PartReference", "Reference", "PartMarks", "GraderPool", "Exercise"} else "TRIED")
