# promise: Sockets that no network namespace confines are refused.
import socket

for family in range(1, 46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind)
        except OSError:
            continue
        if family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK) or (
            kind == socket.SOCK_RAW and family in (socket.AF_INET, socket.AF_INET6)
        ):
            print("ESCAPED", family, kind)
print("TRIED")
