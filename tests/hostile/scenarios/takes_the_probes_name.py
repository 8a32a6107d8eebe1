# promise: A file called like the probe, or like what it needs, is not the probe.
# place: first

for name in ("grader_probe", "json", "msgspec", "safetensors", "torch", "select"):
    with open(f"{name}.py", "w") as file:
        file.write("print('ESCAPED', __name__)\n")
    with open(f"/tmp/{name}.py", "w") as file:
        file.write("print('ESCAPED', __name__)\n")
print("TRIED")
