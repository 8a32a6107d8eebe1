# promise: Forged replies gain nothing: each cell still runs to its end before the next.
# place: end
import time

kernel = get_ipython().kernel
parent, ident = kernel.get_parent("shell"), kernel._parent_ident
print("TRIED", flush=True)
ident = ident.get("shell") if hasattr(ident, "get") else ident
stream = getattr(kernel.shell_stream, "socket", kernel.shell_stream)
for content in ({"status": "ok", "execution_count": 1}, {"status": "aborted"}, {"status": "error", "ename": 5}):
    kernel.session.send(stream, "execute_reply", content, parent=parent, ident=ident)
time.sleep(0.3)
