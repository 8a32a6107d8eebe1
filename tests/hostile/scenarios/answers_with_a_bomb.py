# promise: A probe's answer that takes far more memory than bytes once it is read is refused before that.
# place: training
# nothing: training/dW training/db training/W training/b
import sys

probe = sys.modules["grader_probe"]
bomb = b"\xdd\x00\x80\x00\x00" + b"\x90" * (8 << 20)
packed = probe._packed
probe._packed = lambda content: bomb if isinstance(content, dict) and "notes" in content else packed(content)
print("TRIED")
