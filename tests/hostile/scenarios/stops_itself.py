# promise: A kernel that stops itself is killed when its time is over.
# seconds: 1.5
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import os
import signal

os.kill(os.getpid(), signal.SIGSTOP)
