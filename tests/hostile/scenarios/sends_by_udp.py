# promise: There is no network, not even for a single datagram.
import socket

for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "255.255.255.255"), (socket.AF_INET6, "::1")):
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            udp.sendto(b"@SCREAM@", (host, @UDP@))
        except OSError as error:
            print(error)
print("TRIED")
