# promise: There is no memory that outlasts its mapping: no measurement of processes would see it.
import ctypes
import mmap

def anonymous():
    return mmap.mmap(-1, 20 << 20)


def of_zeros():
    with open("/dev/zero", "r+b", 0) as file:
        return mmap.mmap(file.fileno(), 20 << 20)


def of_system_v():
    segment = ctypes.CDLL(None, use_errno=True).shmget(0, 20 << 20, 0o1600)
    if segment < 0:
        raise OSError(ctypes.get_errno(), "shmget")


for make in (anonymous, of_zeros, of_system_v):
    try:
        make()
        print("ESC" + "APED", make.__name__)
    except OSError as error:
        print("TRIED", make.__name__, error)
