# promise: A tensor operation that takes for ever ends with the cell's time.
# seconds: 1.5
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db
a = torch.rand(3000, 3000)
while True:
    a = torch.linalg.matrix_exp(a) * 0 + 1e-6
    torch.linalg.svd(torch.rand(2000, 2000))
