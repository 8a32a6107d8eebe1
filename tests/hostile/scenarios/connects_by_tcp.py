# promise: There is no network, not even to this machine.
import socket

for address in (("127.0.0.1", @TCP@), ("localhost", @TCP@), ("0.0.0.0", @TCP@), ("::1", @TCP@), ("::ffff:127.0.0.1", @TCP@)):
    try:
        socket.create_connection(address, 0.5)
        print("ESCAPED", address)
    except OSError as error:
        print("TRIED", error)
