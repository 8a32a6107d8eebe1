# promise: Processes are limited for each kernel alone: a neighbour can still start its own.
# seconds: 1.5
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import os
import time

print("TRIED", flush=True)
time.sleep(0.3)  # until that is out
end = time.monotonic() + 30  # longer than this kernel has
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        pass
