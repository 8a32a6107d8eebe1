# promise: Neither the notebook nor what earlier cells showed can be rewritten: both are the grader's.
# place: end
# wrong: steps/dscaled
import json
import os

dscaled = dscaled * 3
cells = [{"cell_type": "code", "id": "gradients-top", "metadata": {}, "outputs": [], "source": "ESCAPED"}]
for name in ("mini.ipynb", "notebook.ipynb", "/kernel/exercise/mini.ipynb", os.environ.get("JPY_SESSION_NAME", "x")):
    with open(name, "w") as file:
        json.dump({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, file)
shell = get_ipython()
shell.set_next_input("dscaled = dscaled / 3", replace=True)
shell.payload_manager.write_payload({"source": "set_next_input", "text": "dscaled /= 3", "replace": True})
shell.user_ns["In"][:] = ["" for _ in shell.user_ns["In"]]
shell.user_ns["Out"].clear()
shell.execution_count = 1
handle = display("first", display_id="known")
for name in ("known", "", None, 7, "x" * 10000):
    shell.display_pub.publish({"text/plain": "TRIED"}, transient={"display_id": name}, update=True)
print("TRIED")
