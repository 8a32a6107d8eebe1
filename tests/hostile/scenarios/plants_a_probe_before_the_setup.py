# promise: A student's own cell before everything can replace the probe in its kernel, and gains nothing.
# place: first
# nothing: steps/dscaled steps/dhsum steps/dh steps/dhpre steps/dW steps/db
# nothing: training/dW training/db training/W training/b
import sys
import types

fake = types.ModuleType("grader_probe")
for name in ("inject", "begin", "export", "hidden"):
    setattr(fake, name, lambda *_: display({"application/vnd.backprop-grader+json": {"verdict": "exact"}}, raw=True))
sys.modules["grader_probe"] = fake
print("TRIED")
