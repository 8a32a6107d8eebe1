# promise: A destructor that never ends is interrupted or killed like any other code.
# seconds: 1.5
# place: end
# unchecked: steps/dscaled steps/dhsum steps/dh
# carried: steps/dhpre steps/dW steps/db


class Sticky:
    def __del__(self):
        while True:
            try:
                while True:
                    pass
            except KeyboardInterrupt:
                pass


print("TRIED", flush=True)
sticky = Sticky()
del sticky
