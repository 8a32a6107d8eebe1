# promise: Only TCP, UDP and Unix sockets can be had, pairs of the last alone, and the list of interfaces.
import ctypes
import errno
import os
import platform

libc = ctypes.CDLL(None, use_errno=True)
SOCKET, SOCKETPAIR = (41, 53) if platform.machine() == "x86_64" else (198, 199)
CONFINED = {(1, kind, 0) for kind in (1, 2, 5)} | {(16, 2, 0), (16, 3, 0)} | {
    (family, kind, protocol) for family in (2, 10) for kind, own in ((1, 6), (2, 17)) for protocol in (0, own)
}
REFUSALS = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}
pair = (ctypes.c_int * 2)()
for family in range(48):
    for kind in range(12):
        for protocol in (*range(24), 33, 41, 47, 132, 136, 255, 262):
            for call, allowed in ((SOCKET, CONFINED), (SOCKETPAIR, {one for one in CONFINED if one[0] == 1})):
                result = libc.syscall(call, family, kind, protocol, ctypes.byref(pair))
                if result < 0 and ctypes.get_errno() not in REFUSALS:
                    print("ESCAPED to what lies behind", family, kind, protocol, os.strerror(ctypes.get_errno()))
                elif result >= 0:
                    if (family, kind, protocol) not in allowed:
                        print("ESCAPED", call, family, kind, protocol)
                    for descriptor in [result] if call == SOCKET else pair:
                        os.close(descriptor)
print("TRIED")
