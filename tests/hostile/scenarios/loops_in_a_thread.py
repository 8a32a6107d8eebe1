# promise: A thread that never ends holds up nothing: the rest is graded, and it is gone afterwards.
import threading


def spin():
    while True:
        pass


threading.Thread(target=spin).start()
print("TRIED")
