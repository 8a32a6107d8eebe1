# promise: A tensor that is far too large is wrong by its shape, and costs the grader nothing.
# place: instead
# wrong: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
dscaled = dhsum = dh = torch.randn(1000, 1000)
dhsum, dh = dhsum.clone(), dh.clone()
print("TRIED")
