# promise: A student's threads in torch change nothing of anybody's numbers.
torch.set_num_threads(64)
try:
    torch.set_num_interop_threads(64)
except RuntimeError as error:
    print(error)
product = torch.rand(500, 500) @ torch.rand(500, 500)
print("TRIED", torch.get_num_threads(), product.shape)
