# promise: An endless loop in C ends with the cell's time.
# unchecked: steps/dscaled steps/dhsum steps/dh
# missing: steps/dhpre steps/dW steps/db
sum(iter(int, 1))
