# promise: What fills the system's buffers for one kernel leaves the neighbour's to it.
import fcntl
import os

pipes = []
try:
    while True:
        readable, writable = os.pipe()
        pipes.append((readable, writable))
        os.set_blocking(writable, False)
        try:
            fcntl.fcntl(writable, 1031, 1 << 20)  # F_SETPIPE_SZ
        except OSError:
            pass
        try:
            while os.write(writable, bytes(1 << 16)):
                pass
        except BlockingIOError:
            pass
except OSError as error:
    print("TRIED", len(pipes), error)
for ends in pipes:
    for end in ends:
        os.close(end)
