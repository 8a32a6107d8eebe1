# promise: A message that takes far more memory than bytes once it is read does the grader no harm.
# seconds: 6
session = get_ipython().kernel.session
pack = session.pack
packed = b'{"data": {"text/plain": "TRIED"}, "metadata": {"a": [' + b",".join([b"{}"] * (1 << 18)) + b"]}}"
session.pack = lambda thing: packed if isinstance(thing, dict) and "data" in thing else pack(thing)
display({"text/plain": "nothing"}, raw=True)
session.pack = pack
