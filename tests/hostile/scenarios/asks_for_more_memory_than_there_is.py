# promise: A line that asks for more memory than there is costs itself alone: nothing is held.
# place: end
# says: can't allocate memory
# missing: steps/dh
# carried: steps/dhpre steps/dW steps/db
print("TRIED", flush=True)
del dh
dh = torch.zeros(1 << 40)
