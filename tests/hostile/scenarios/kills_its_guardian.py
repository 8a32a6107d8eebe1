# promise: A kernel that ends the guardian of its namespaces ends itself.
# says: The kernel died
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import os
import signal
import time

for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGKILL, signal.SIGSEGV):
    for _ in range(5):
        try:
            os.kill(1, number)
        except OSError:
            pass
time.sleep(1)
