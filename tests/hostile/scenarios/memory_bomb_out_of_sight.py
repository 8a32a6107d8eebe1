# promise: Shared memory that no process has mapped in counts too.
# unchecked: steps/dscaled steps/dhsum steps/dh
# unchecked: steps/dhpre steps/dW steps/db
# seconds: 8
import mmap
import time

# Pages of a shared mapping stay in memory when the process lets go of them: they leave its resident set, nothing else.
kept = []
try:
    for _ in range(60):
        shared = mmap.mmap(-1, 20 << 20)
        shared[:] = bytes([1]) * (20 << 20)
        shared.madvise(mmap.MADV_DONTNEED)
        kept.append(shared)
    print("ESCAPED", sum(map(len, kept)) >> 20, "MB")
    time.sleep(0.5)
except (OSError, MemoryError):
    import os

    os._exit(9)
