"""How soon the review's pages come, and how large they are, with a class of a thousand.

    python -m benchmarks.review [STUDENTS]

It grades the examples once, puts their gradings under a thousand names into a gradebook of its own, serves that, and
asks for each page again and again, with a mark set before each round, which makes the server take the class anew.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.speed.assignment import GRADER
from grader.gradebook.gradebook import Gradebook

ROUNDS = 15
TOP = Path(__file__).parent.parent


def main() -> None:
    """Print a line for each page: its size, the median and the slowest of its answers."""
    students = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run(
            [GRADER, "grade", "examples", "--out", str(folder / "small")], cwd=TOP, stdout=subprocess.DEVNULL
        )
        name = fill(folder / "small", folder / "large", students)
        serve = [GRADER, "review", str(folder / "large"), "--no-browser"]
        with subprocess.Popen(serve, cwd=TOP, stdout=subprocess.PIPE, text=True) as server:
            try:
                measure(server.stdout.readline().split()[1], name)
            finally:
                server.terminate()


def fill(small: Path, large: Path, students: int) -> str:
    """A gradebook with the gradings of another one under many names; one of these names."""
    with Gradebook(small / "gradebook.sqlite") as book:
        found = list(book.gradings())
    with Gradebook(large / "gradebook.sqlite") as book:
        run = book.start(large)
        for number in range(students):
            grading = found[number % len(found)]
            grade = msgspec.structs.replace(grading.grade, student=f"{grading.grade.student} {number:04}")
            book.add(run, msgspec.structs.replace(grading, grade=grade))
        book.finish(run)
    return f"{found[3].grade.student} 0003"


def measure(address: str, name: str) -> None:
    """Ask for every page, round by round."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    browser.open(address).read()
    base = address.split("/queue")[0]
    of = urllib.parse.urlencode({"student": name, "exercise": "01_backprop_ninja"})
    pages = {
        "queue": "/queue",
        "class": "/class",
        "class, filtered and sorted": "/class?diagnosis=sum-missing&sort=wrong&down=yes",
        "submission": f"/submission?{of}",
        "question": re.search(r"/item/[\w-]+", browser.open(base + "/queue").read().decode())[0],
    }
    time.sleep(20)  # similar code is looked for, and the files are written, once at the start
    seconds: dict[str, list[float]] = {page: [] for page in [*pages, "saving a mark"]}
    sizes: dict[str, int] = {}
    for number in range(ROUNDS):
        text = browser.open(base + pages["submission"]).read().decode()
        fields = {field: re.search(f'name="{field}" value="([^"]*)"', text)[1] for field in ("csrf", "of", "seen")}
        fields = {field: value.replace("&#34;", '"').replace("&amp;", "&") for field, value in fields.items()}
        form = {**fields, "place": json.dumps([None, None], separators=(",", ":")), "points": number, "reason": "x"}
        start = time.perf_counter()
        browser.open(base + "/mark", urllib.parse.urlencode(form).encode()).read()
        seconds["saving a mark"].append(time.perf_counter() - start)
        for page, path in pages.items():
            start = time.perf_counter()
            sizes[page] = len(browser.open(base + path).read())
            seconds[page].append(time.perf_counter() - start)
    for page, taken in seconds.items():
        size = f"{sizes[page] / 1000:.0f} kB" if page in sizes else ""
        print(f"{page:28} {size:>8}  median {1000 * median(taken):4.0f} ms  slowest {1000 * max(taken):4.0f} ms")


if __name__ == "__main__":
    main()
