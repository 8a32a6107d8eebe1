# promise: A kernel that ends itself is a dead kernel, never a zero.
# says: The kernel died
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import os

os._exit(0)
