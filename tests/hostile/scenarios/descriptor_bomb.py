# promise: Open files, pipes and sockets are limited.
import os
import socket

kept = []
for opener in (lambda: os.open("/dev/null", os.O_RDONLY), lambda: os.pipe(), lambda: socket.socketpair()):
    made = []
    try:
        for _ in range(100_000):
            made.append(opener())
        print("ESCAPED")
    except OSError as error:
        print("TRIED", len(made), error.errno)
    for one in made:
        for end in one if isinstance(one, tuple) else (one,):
            os.close(end) if isinstance(end, int) else end.close()
