# promise: A message of the largest size that takes far more memory than bytes once it is read is not read.
# says: [output cut: this cell printed too much]
session = get_ipython().kernel.session
pack = session.pack
bomb = b"[" + b"{}," * (6 << 20) + b"{}]"


def bombed(told):
    if "data" not in told["content"]:
        return pack(told)
    return pack({**told, "content": {**told["content"], "metadata": {"a": "BOMB"}}}).replace(b'"BOMB"', bomb)


print("TRIED")
session.pack = bombed
display({"text/plain": "nothing"}, raw=True)
session.pack = pack
