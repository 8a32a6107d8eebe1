# promise: Signals reach the kernel's own processes and no other.
# says: The kernel died
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import os
import signal
import subprocess

for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
    for pid in (os.getppid(), 1, 2, 3, @PID@, -os.getpgid(0)):
        try:
            os.kill(pid, number) if pid not in (0, os.getpid(), -os.getpid()) else None
        except OSError:
            pass
subprocess.run([__import__("sys").executable, "-c", "import os; os.kill(-1, 9)"], check=False)
