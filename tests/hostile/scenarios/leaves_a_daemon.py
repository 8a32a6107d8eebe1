# promise: Everything that a kernel started is gone with it: daemons too.
# place: end
import os
import subprocess
import sys
import time

code = (
    "import os, signal, time\n"
    "open('/proc/self/comm', 'w').write('@SCREAM@')\n"
    "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]\n"
    "time.sleep(600)"
)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.closerange(0, 300)
        os.execv(sys.executable, [sys.executable, "-c", code])
    os._exit(0)
subprocess.Popen(["setsid", sys.executable, "-c", code], start_new_session=True)
subprocess.Popen(["nohup", sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(0.2)
print("TRIED")
