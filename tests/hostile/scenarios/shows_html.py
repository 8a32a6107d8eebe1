# promise: What a student shows is text in the report, never markup.
# place: end
from IPython.display import HTML, Javascript, display

attack = "<script>alert('ESCAPE' + 'D')</script><img src=x onerror=alert(1)></pre></body>{{ 7*7 }}{% raw %}"
print("TRIED", attack)
display(HTML(attack), Javascript("alert(1)"), {"text/html": attack, "text/plain": attack, "image/svg+xml": attack})
display({"image/png": "iVBORw0KGgo=' onerror='alert(1)", "text/plain": attack}, raw=True)
display({"image/png": attack, "text/markdown": attack, "text/latex": attack}, raw=True)
raise type(attack, (Exception,), {})(attack)
