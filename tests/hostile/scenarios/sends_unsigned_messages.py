# promise: A message with a wrong signature, without a header or of no JSON ends its kernel, not the grader.
# place: own

kernel = get_ipython().kernel
pack = kernel.session.pack
for frames in (
    [b"stream", b"<IDS|MSG>", b"wrong", b"{}", b"{}", b"{}", b"{}"],
    [b"no delimiter"],
    [b"stream", b"<IDS|MSG>"],
):
    kernel.iopub_socket.send_multipart(frames)
for parts in ([b"{}", b"{}", b"{}", b"{}"], [b"[", b"[", b"[", b"["], [b"5", b"[]", b"{}", b"null"], [b"[" * 9999] * 4):
    kernel.iopub_socket.send_multipart([b"x", b"<IDS|MSG>", kernel.session.sign(parts), *parts])
print("TRIED")
