# promise: A message that takes far more memory than bytes once it is read does the grader no harm.
# seconds: 6
import json

kernel = get_ipython().kernel
session = kernel.session
packed = b'{"data": {"text/plain": "x"}, "metadata": {"a": [' + b",".join([b"{}"] * (4 << 20)) + b"]}}"
session.pack = lambda thing, _pack=session.pack: packed if isinstance(thing, dict) and "data" in thing else _pack(thing)
display({"text/plain": "TRIED"}, raw=True)
del session.pack
deep = b'{"data": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
print("TRIED")
