# promise: No other submission is visible.
for path in ("@VICTIM@", "@FOLDER@", "@RUNTIME@"):
    try:
        open(path).read()
    except OSError as error:
        print("TRIED", type(error).__name__)
    else:
        print("ESCAPED", path)
