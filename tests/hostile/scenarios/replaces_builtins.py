# promise: A kernel without its builtins harms itself at most.
# place: end
# nothing: steps/dscaled steps/dhsum steps/dh steps/dhpre steps/dW steps/db
import builtins

print("TRIED", flush=True)
for name in ("print", "open", "__import__", "isinstance", "len", "getattr", "dict", "str"):
    setattr(builtins, name, lambda *_, **__: "exact")
