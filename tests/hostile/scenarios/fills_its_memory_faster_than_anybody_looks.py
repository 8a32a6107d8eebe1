# promise: A cell that gets no more memory and keeps what it has ends its kernel itself, and not in the next cell.
# says: The kernel died in the cell that assigns dscaled: it used more than 400 MB of memory
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
print("TRIED", flush=True)
grown = torch.zeros(1 << 16, requires_grad=True)
while True:
    grown = torch.tanh(grown) + 1
