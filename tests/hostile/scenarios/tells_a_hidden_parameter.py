# promise: What a hidden case's code says stays in the grader: no output, no message, no number of it is shown.
import sys

print("TRIED")
if torch.get_default_dtype() is torch.float64:
    print("LEAKED", seed, batch_size)
    print("LEAKED", seed, batch_size, file=sys.stderr)
    display({"text/plain": f"LEAKED {seed}"}, raw=True)
    open("/tmp/leak", "w").write(f"LEAKED {seed}")
    dscaled = None
    raise ValueError(f"LEAKED {seed} {batch_size}")
