# promise: Nothing that a kernel sends is unpickled.
# place: instead
# missing: steps/dscaled
import os
import pickle
import sys


class Bomb:
    def __reduce__(self):
        return os.system, ("touch @FOLDER@/pwned",)

    def __reduce_ex__(self, protocol):
        return self.__reduce__()


class Tensor(torch.Tensor):
    def __reduce_ex__(self, protocol):
        return Bomb().__reduce__()


dscaled = Bomb()
dhsum = (h / scaled.numel()).sum(1, keepdim=True)
dh = (hsum / scaled.numel() + dhsum).as_subclass(Tensor)
for answer in ({"notes": {}, "tensors": pickle.dumps(Bomb(), 0)}, pickle.dumps(Bomb(), 0)):
    sys.modules["grader_probe"]._publish(sys.modules["grader_probe"]._packed(answer))
print("TRIED")
