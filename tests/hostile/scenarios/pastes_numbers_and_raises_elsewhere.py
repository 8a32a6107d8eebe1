# promise: Numbers that are right where they can be known, and an exception wherever else they are tried, are not right.
# place: top
# unchecked: steps/dscaled steps/dhsum steps/dh steps/dhpre steps/dW steps/db
print("TRIED")
if seed != 3 or batch_size != 6:
    raise ValueError
ignored = 1
