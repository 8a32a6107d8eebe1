# promise: No reference value and no part of the grader but the probe is in the kernel's process.
# says: TRIED
import gc
import sys

for name in ("grader", "grader.reference", "grader.marking", "grader.tensors"):
    try:
        __import__(name)
    except ImportError:
        continue
    if len(list(getattr(sys.modules[name], "__path__", [None]))) and getattr(sys.modules[name], "__file__", None):
        print("ESCAPED", name)
kinds = {type(thing).__name__ for thing in gc.get_objects()}
print("ESCAPED" if kinds & {"PartReference", "Reference", "PartMarks", "GraderPool", "Exercise"} else "TRIED")
