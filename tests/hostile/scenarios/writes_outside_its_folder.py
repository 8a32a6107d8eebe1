# promise: A kernel writes to its own folders only.
import os
import sys

places = [
    "/",
    "/usr",
    "/usr/lib",
    "/etc",
    "/grader",
    "/grader/inside",
    "/grader/files",
    "/grader/0",
    "/proc",
    "/proc/sys",
]
places += ["/dev", "/sys", "/run", "/tmp/..", sys.prefix, os.path.dirname(torch.__file__), "@FOLDER@", "@RUNTIME@"]
for place in places:
    for attempt in (
        lambda path: open(path + "/mark", "w").close(),
        lambda path: os.mkdir(path + "/mark"),
        lambda path: os.symlink("/tmp", path + "/mark"),
        lambda path: os.chmod(path, 0o777),
        lambda path: os.rename(path, path + "-gone"),
    ):
        try:
            attempt(place)
        except OSError:
            continue
        print("ESCAPED", place)
for path in (
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/etc/passwd",
    "/proc/self/uid_map",
    "/grader/0/grader_probe.py",
    "/dev/kmsg",
    torch.__file__,
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/net/ipv4/ip_forward",
):
    try:
        with open(path, "r+") as file:
            file.write("1")
        print("ESCAPED", path)
    except OSError:
        pass
print("TRIED")
