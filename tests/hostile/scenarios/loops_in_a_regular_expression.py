# promise: Code that never looks for signals is killed when its time is over.
# seconds: 1.5
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
import re

re.match(r"(a|aa)+$", "a" * 200 + "b")
