# promise: Files are limited in size and number.
import os

try:
    with open("/tmp/large", "wb") as file:
        file.truncate(1 << 40)
    print("ESCAPED: size")
except OSError as error:
    print("TRIED", error)
number = 0
try:
    for number in range(100_000):
        os.close(os.open(f"/tmp/small{number}", os.O_CREAT | os.O_WRONLY))
    print("ESCAPED: number")
except OSError as error:
    print("TRIED", number, error)
for number in range(number):
    os.unlink(f"/tmp/small{number}")
