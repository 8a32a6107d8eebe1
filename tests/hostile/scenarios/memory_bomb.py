# promise: A student who allocates 20 GB fails or dies alone.
import mmap

import numpy

for allocate in (
    lambda: bytearray(20 << 30),
    lambda: torch.ones(20 << 30, dtype=torch.uint8),
    lambda: numpy.ones(20 << 30, dtype="uint8"),
    lambda: mmap.mmap(-1, 20 << 30),
    lambda: "x" * (20 << 30),
):
    try:
        kept = allocate()
        print("ESCAPED", len(kept))
        del kept
    except (MemoryError, RuntimeError, OSError) as error:
        print("TRIED", type(error).__name__)
