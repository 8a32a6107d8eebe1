# promise: A kernel is not asked to end: what it wants to do at its exit never runs.
# place: end
import atexit
import signal
import threading
import weakref


def forever(*_):
    while True:
        pass


atexit.register(forever)
threading._register_atexit(forever)
weakref.finalize(torch, forever)
for number in (1, 3, 15, 10, 12):
    signal.signal(number, forever)
print("TRIED")
