# promise: Threads count as processes do.
import threading
import time

count = 0
try:
    for _ in range(5000):
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
        count += 1
except RuntimeError:
    pass
print("ESCAPED" if count > 60 else "TRIED", count)
