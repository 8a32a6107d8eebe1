# promise: An endless loop in C ends with the cell's time.
# seconds: 1.5
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
sum(iter(int, 1))
