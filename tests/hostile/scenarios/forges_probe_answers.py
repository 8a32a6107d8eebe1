# promise: The probe's answer, sent by somebody else and for every message to come, gains nothing.
# place: end
# wrong_or_unchecked: steps/dscaled
# right_or_unchecked: steps/dhsum steps/dh steps/dhpre steps/dW steps/db
# right_or_unchecked: training/dW training/db training/W training/b
import threading
import time

import msgspec
from grader_probe import MIME

kernel = get_ipython().kernel
dscaled = dscaled * 5
seen = set()


def sending():
    end = time.monotonic() + 1
    forged = {
        "notes": {"dscaled": {"kind": "tensor", "shape": [6, 4]}},
        "tensors": b"",
        "verdict": "exact",
        "points": 16,
    }
    while time.monotonic() < end:
        parent = kernel.get_parent("shell")
        content = {"data": {MIME: forged}, "metadata": {}}
        buffers = [msgspec.msgpack.encode(forged)]
        kernel.session.send(kernel.iopub_socket, "display_data", content, parent=parent, buffers=buffers)
        time.sleep(0.02)


threading.Thread(target=sending, daemon=True).start()
print("TRIED")
