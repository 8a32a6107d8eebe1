# promise: The kernel of the visible case knows nothing of the hidden cases.
# seconds: 10
# says: TRIED
import gc
import sys

word = "".join(reversed("dees-rehtona"))  # so that this source is no hit itself


def holds(thing):
    try:
        return word in repr(thing)
    except Exception:
        return False


if torch.get_default_dtype() is torch.float32:
    found = [type(thing) for thing in gc.get_objects() if isinstance(thing, (dict, list, tuple)) and holds(thing)]
    frame = sys._getframe()
    while frame is not None:
        found += [name for name, value in frame.f_locals.items() if name != "word" and word in str(value)[:10_000_000]]
        frame = frame.f_back
    needle = word.encode()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            if "[heap]" in line or (line.split()[1] == "rw-p" and len(line.split()) == 5):
                first, last = (int(end, 16) for end in line.split()[0].split("-"))
                if last - first < 64 << 20:
                    memory.seek(first)
                    chunk = memory.read(last - first)
                    at = chunk.find(needle + b'"')
                    if at >= 0:
                        found.append(chunk[at - 20 : at + 60])
    print("ESCAPED" if found else "TRIED", len(found), found[:3])
