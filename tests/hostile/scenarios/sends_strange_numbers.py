# promise: NaN, infinity, other dtypes and other shapes are wrong, whatever is claimed of them.
# place: instead
# wrong: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db

dscaled = torch.full((6, 4), float("nan"))
dhsum = torch.full((6, 1), 7.0).to(torch.float8_e4m3fn)
dh = torch.full((n, 4), float("inf"))
print("TRIED")
