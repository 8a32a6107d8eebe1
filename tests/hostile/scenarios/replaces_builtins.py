# promise: A kernel without its builtins harms itself at most.
# place: training
# nothing: training/dW training/db training/W training/b
import builtins

print("TRIED", flush=True)
for name in ("print", "open", "__import__", "isinstance", "len", "getattr", "dict", "str"):
    setattr(builtins, name, lambda *_, **__: "exact")
