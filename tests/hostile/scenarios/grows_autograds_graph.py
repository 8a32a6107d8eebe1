# promise: A kernel that is killed over its memory says so.
# seconds: 8
# says: The kernel died in the cell that assigns dscaled: it used more than 400 MB of memory
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import time

print("TRIED", flush=True)
grown = torch.zeros(1 << 16, requires_grad=True)
while True:
    grown = torch.tanh(grown) + 1
    time.sleep(0.002)
