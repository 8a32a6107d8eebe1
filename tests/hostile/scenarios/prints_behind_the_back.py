# promise: Output that belongs to no cell counts too, and does not keep the grader from its clock.
# seconds: 1.5
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import time

kernel = get_ipython().kernel
end = time.monotonic() + 30
while time.monotonic() < end:
    kernel.session.send(kernel.iopub_socket, "stream", {"name": "stdout", "text": "x"}, parent={})
