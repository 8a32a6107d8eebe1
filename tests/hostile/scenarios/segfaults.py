# promise: A crash in C takes only its own kernel with it.
# says: The kernel died
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import ctypes

ctypes.string_at(8)
