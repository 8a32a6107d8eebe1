# promise: A kernel without its builtins harms itself at most.
# place: end
# nothing: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import builtins

print("TRIED", flush=True)
__import__("time").sleep(0.5)  # the kernel dies at once, and what it printed with it
for name in ("print", "open", "__import__", "isinstance", "len", "getattr", "dict", "str"):
    setattr(builtins, name, lambda *_, **__: "exact")
