# promise: No process but the kernel's own is visible, by its number or otherwise.
import os

own = {os.getpid(), os.getppid(), 1}
pid = os.getpid()
for number in (int(name) for name in os.listdir("/proc") if name.isdigit()):
    status = open(f"/proc/{number}/status").read()
    if "Uid:\t1000" not in status and number != 1:
        print("ESCAPED: another user's process", number, status)
for number in range(3, 40_000, 1):
    if number not in own and number > 100 and os.path.exists(f"/proc/{number}"):
        print("ESCAPED", number, open(f"/proc/{number}/cmdline").read())
for name in ("environ", "cmdline", "mem", "maps", "fd", "root", "cwd", "status"):
    if os.path.lexists(f"/proc/@PID@/{name}"):
        print("ESCAPED", name)
print("TRIED", len(os.listdir("/proc")))
