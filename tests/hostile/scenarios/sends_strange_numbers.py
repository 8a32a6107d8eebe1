# promise: NaN, infinity, other dtypes and other shapes are wrong, whatever is claimed of them.
# place: end
# wrong: steps/dscaled steps/dhsum steps/dh
import sys

probe = sys.modules["grader_probe"]
original = probe._export
kinds = [torch.float8_e4m3fn, torch.bfloat16, torch.complex64, torch.uint8, torch.bool, torch.int64, torch.float16]
dscaled = torch.full_like(scaled, float("nan")).detach()
dhsum = torch.full((6, 1), 7.0).to(torch.float8_e4m3fn)
dh = torch.full((n, 4), float("inf"))
_kept = torch.zeros(0, 10**9)
dhpre_good = None
print("TRIED", len(kinds))
