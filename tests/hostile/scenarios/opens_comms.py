# promise: Widgets that redirect output to the grader's client redirect only their own.
# place: own
kernel = get_ipython().kernel
parent = kernel.get_parent("shell")
state = {"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel", "msg_id": parent["header"]["msg_id"]}
content = {"comm_id": "a", "target_name": "jupyter.widget", "data": {"state": state}}
kernel.session.send(kernel.iopub_socket, "comm_open", content, parent=parent)
for sent in ({"method": "update", "state": state}, {"state": []}, None, {"buffer_paths": [[1]], "state": {}}):
    kernel.session.send(kernel.iopub_socket, "comm_msg", {"comm_id": "a", "data": sent}, parent=parent)
print("TRIED")
