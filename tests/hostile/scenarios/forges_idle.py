# promise: A forged end of a cell gains nothing: what was not computed is missing.
# place: end

kernel = get_ipython().kernel
parent = kernel.get_parent("shell")
for state in ("idle", "busy", "idle", "dead", "restarting", "idle"):
    kernel.session.send(kernel.iopub_socket, "status", {"execution_state": state}, parent=parent)
kernel.session.send(
    kernel.iopub_socket, "display_data", {"data": {"text/plain": "exact"}, "metadata": {}}, parent=parent
)
for name in ("execute_result", "update_display_data", "clear_output", "error", "comm_open", "comm_msg", "nonsense"):
    kernel.session.send(
        kernel.iopub_socket, name, {"data": [], "transient": 7, "traceback": 5, "ename": {}}, parent=parent
    )
