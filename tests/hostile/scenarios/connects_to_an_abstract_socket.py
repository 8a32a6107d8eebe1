# promise: Abstract Unix sockets of the machine are out of reach.
import socket

try:
    socket.socket(socket.AF_UNIX).connect("\0@ABSTRACT@")
    print("ESCAPED")
except OSError as error:
    print("TRIED", error)
print(open("/proc/net/unix").read().count("@ABSTRACT@"))
