# promise: A single message of any size does the grader no harm.
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
# seconds: 6
display({"text/plain": "x" * (40 << 20)}, raw=True)
