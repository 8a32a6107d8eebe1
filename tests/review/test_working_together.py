"""Several people at one gradebook, and a server that is killed: no mark is lost or overwritten unseen."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import make_url

from grader.gradebook.gradebook import Gradebook
from tests.review.serving import fill, reviewing
from tests.review.test_pages_in_a_browser import submission
from tests.warm_python import grader

POSTGRESQL = "GRADER_TEST_POSTGRESQL"


@pytest.fixture
def postgresql():
    """An empty database of its own."""
    address = os.environ.get(POSTGRESQL)
    if address is None:
        pytest.skip(f"{POSTGRESQL} names no database")
    name = f"review_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return make_url(address).set(database=name).render_as_string(hide_password=False)


def set_mark(desk, points, reason):
    desk.page.locator("#points").fill(str(points))
    desk.page.locator("#reason").fill(reason)
    desk.page.locator("#mark button").click()
    shown = desk.page.locator(".history", has_text=reason)
    shown.or_(desk.page.locator("#failed:not(:empty)")).first.wait_for()


@pytest.mark.browser
def test_two_who_collide_on_one_check_are_shown_both_marks(postgresql, sit_down, tmp_path):
    fill(postgresql, tmp_path, hostile=False)
    other = ["--gradebook", postgresql]
    ann, bob = {"LOGNAME": "ann", "USER": "ann"}, {"LOGNAME": "bob", "USER": "bob"}
    with reviewing(*other, env=ann) as (first, _), reviewing(*other, env=bob) as (second, _):
        ann, bob = sit_down(first), sit_down(second)
        for desk in (ann, bob):
            desk.open(submission("alice", "every-gradient/dC"))
        set_mark(ann, 1, "Right on paper.")
        assert "Saved" in ann.said()
        set_mark(bob, 0.5, "Half of it.")
        told = bob.failed()
        assert "ann gave 1 point for dC" in told
        assert "Right on paper." in told
        assert "0.5 points, “Half of it.”" in told
        assert bob.page.locator("#points").input_value() == "0.5"  # nothing typed is lost
        assert "Right on paper." in bob.page.locator(".history").inner_text()
        with Gradebook(postgresql) as book:
            assert [mark.override.points for mark in book.log.marks()] == [1.0]
        bob.page.locator("#mark button").click()  # having seen it, he means it
        bob.page.locator("#said:not(:empty)").wait_for()
        ann.open("/queue?kind=disputed")
        assert "ann gave 1 point" in ann.page.locator("table.queue").inner_text()
        with Gradebook(postgresql) as book:
            assert [(mark.override.points, mark.override.by) for mark in book.log.marks()] == [
                (1.0, "ann"),
                (0.5, "bob"),
            ]


@pytest.mark.browser
@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_a_killed_server_loses_no_mark_that_a_page_showed_as_saved(sit_down, tmp_path, rounds):
    fill(tmp_path / "gradebook.sqlite", tmp_path, hostile=False)
    shown, chance = [], random.Random(rounds)
    for number in range(rounds):
        with reviewing(tmp_path) as (address, process):
            desk = sit_down(address)
            desk.open(submission("alice", "every-gradient/dC"))
            killer = None
            for count in range(1000):
                reason = f"round {number}, mark {count}"
                set_mark(desk, count % 2, reason)
                if desk.failed():
                    break
                shown.append(reason)
                killer = killer or subprocess.Popen(
                    ["sh", "-c", f"sleep {chance.uniform(0, 1.5):.3f}; kill -KILL {process.pid}"]
                )
            killer.wait()
            assert "Nothing was saved" in desk.failed()
            desk.context.close()
    assert len(shown) >= rounds
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        kept = [mark.override.reason for mark in book.log.marks()]
    assert [reason for reason in shown if reason not in kept] == []
    with reviewing(tmp_path):  # it starts again, and catches up with the files
        report = tmp_path / "alice" / "01_backprop_ninja.html"
        wait_until(lambda: report.exists() and kept[-1] in report.read_text())


@pytest.mark.browser
def test_what_was_typed_is_still_there_when_the_server_was_started_again(sit_down, tmp_path):
    fill(tmp_path / "gradebook.sqlite", tmp_path, ["alice"], hostile=False)
    with reviewing(tmp_path) as (address, process):
        desk = sit_down(address)
        desk.open(submission("alice", "every-gradient/dC"))
        process.kill()
        process.wait()
    with reviewing(tmp_path, "--port", urlsplit(address).port):
        desk.page.locator("#text").fill("A long thought.")
        desk.page.locator("#comment button").click()
        desk.page.locator("#failed:not(:empty)").wait_for()
        assert "Nothing was saved" in desk.failed()
        assert "printed" in desk.failed()
        assert desk.page.locator("#text").input_value() == "A long thought."


def wait_until(holds):
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_a_second_review_of_an_sqlite_gradebook_is_refused_with_a_sentence(tmp_path):
    fill(tmp_path / "gradebook.sqlite", tmp_path, hostile=False)
    with reviewing(tmp_path):
        done = grader("review", tmp_path, "--no-browser", cwd=tmp_path, status=2)
    assert re.search("Somebody else is reviewing .* one writer at a time", done.stderr)
    with reviewing(tmp_path):  # the lock went with the process
        pass
