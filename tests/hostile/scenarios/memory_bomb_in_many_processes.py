# promise: Memory is counted over all processes of a kernel together.
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
# seconds: 8
import os
import time

for _ in range(12):
    if os.fork() == 0:
        kept = bytearray(os.urandom(1)) * (120 << 20)
        time.sleep(20)
        os._exit(0)
time.sleep(6)
print("ESCAPED")
