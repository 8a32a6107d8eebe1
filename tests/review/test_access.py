"""Who gets into the review, and what is refused to a page of another site."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import msgspec
import pytest

from grader.errors import UsageError
from grader.review.access import Guard, Rules
from grader.review.server import Options, access_rules
from grader.review.users import Users

RULES = Rules(token="right", name="ann", hosts={"127.0.0.1", "localhost"})


async def hello(scope, receive, send):
    """The application behind the guard: it says who came in."""
    session = scope["state"]["session"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{session.name} {session.csrf}".encode()})


def ask(guard, method="GET", path="/queue", body=b"", client="127.0.0.1", **headers):
    """Status, headers and body of an answer."""
    path, _, query = path.partition("?")
    given = {"host": "127.0.0.1:8000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "client": (client, 5),
        "state": {}, "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields, b"".join(message.get("body", b"") for message in sent[1:]).decode()


def entered(guard):
    """The cookie of somebody who came with the token."""
    status, headers, _ = ask(guard, path="/queue?token=right")
    assert status == 200
    return headers["set-cookie"].split(";")[0]


def test_the_token_gives_a_cookie_that_scripts_and_other_sites_never_get():
    guard = Guard(hello, RULES)
    status, headers, _ = ask(guard, path="/queue?token=right")
    assert status == 200
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "right" not in cookie
    assert ask(guard, cookie=entered(guard))[2].startswith("ann ")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/queue", {}),
        ("/queue?token=wrong", {}),
        ("/queue?token=", {}),
        ("/queue", {"cookie": "grader-review=guessed"}),
        ("/queue", {"cookie": "\x00;=;grader-review"}),
        ("/", {"authorization": "Bearer right"}),
    ],
)
def test_without_token_or_cookie_nobody_gets_in(path, headers):
    status, _, body = ask(Guard(hello, RULES), path=path, **headers)
    assert status == 403
    assert "with its token" in body


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "evil.example:127.0.0.1", "", "["])
def test_another_hosts_name_is_refused_even_with_the_cookie(host):
    guard = Guard(hello, RULES)
    cookie = entered(guard)
    assert ask(guard, cookie=cookie, host=host)[0] == 421
    assert ask(guard, cookie=cookie, host="localhost:8000")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9999"},  # another port is another site
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(headers):
    guard = Guard(hello, RULES)
    cookie = entered(guard)
    assert ask(guard, "POST", cookie=cookie, **headers)[0] == 403
    assert ask(guard, "POST", cookie=cookie, origin="http://127.0.0.1:8000")[0] == 200
    assert ask(guard, "DELETE", cookie=cookie)[0] == 405


def test_every_answer_has_the_policy_that_forbids_inline_scripts():
    guard = Guard(hello, RULES)
    for headers in ({}, {"host": "evil.example"}, {"cookie": entered(guard)}):
        policy = ask(guard, **headers)[1]["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


def test_users_log_in_with_their_own_name_and_password(tmp_path, monkeypatch):
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: hello_again(seconds))
    path = tmp_path / "users"
    Users(path).add("tom: the second", "a long password")
    assert path.stat().st_mode & 0o077 == 0
    assert "a long password" not in path.read_text()
    guard = Guard(hello, msgspec.structs.replace(RULES, token=None, users=Users(path)))
    assert ask(guard)[0] == 401
    assert ask(guard, path="/queue?token=right")[0] == 401
    for name, password in (("tom: the second", "wrong"), ("nobody", "a long password"), ("", "")):
        form = urlencode({"name": name, "password": password}).encode()
        status, headers, body = ask(guard, "POST", "/login", form)
        assert (status, "set-cookie" in headers) == (401, False)
        assert "name or the password is wrong" in body
    form = urlencode({"name": "tom: the second", "password": "a long password"}).encode()
    status, headers, _ = ask(guard, "POST", "/login", form)
    assert ask(guard, cookie=headers["set-cookie"].split(";")[0])[2].startswith("tom: the second ")


async def hello_again(seconds):
    """A wrong guess costs time; the tests don't wait."""


def test_a_proxys_header_counts_from_the_proxy_alone():
    guard = Guard(hello, msgspec.structs.replace(RULES, token=None, header="X-User", proxy="10.0.0.1"))
    assert ask(guard, x_user="tom", client="10.0.0.1")[2].startswith("tom ")
    assert ask(guard, x_user="tom", client="10.0.0.2")[0] == 403
    assert ask(guard, client="10.0.0.1")[0] == 403


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "10.0.0.5"}, "say who they are"),
        ({"host": "0.0.0.0", "proxy_header": "X-User"}, "--name"),
        ({"users": "missing"}, "has no users yet"),
    ],
)
def test_a_host_for_others_needs_a_way_to_know_them(tmp_path, options, message):
    if "users" in options:
        options = {"users": tmp_path / "missing"}
    with pytest.raises(UsageError, match=message):
        access_rules(Options(folder=None, gradebook="x", **options))


def test_loopback_needs_the_token_only():
    rules, shown = access_rules(Options(folder=None, gradebook="x"))
    assert rules.token is not None
    assert shown == "127.0.0.1"
    assert "localhost" in rules.hosts


@pytest.mark.parametrize(("name", "password"), [("", "long enough 1"), ("a\nb", "long enough 1"), ("tom", "short")])
def test_a_user_needs_a_name_and_a_password_of_some_length(tmp_path, name, password):
    with pytest.raises(UsageError):
        Users(tmp_path / "users").add(name, password)


def test_a_damaged_file_of_users_is_told_by_its_line(tmp_path):
    (tmp_path / "users").write_text("tom:secret\n")
    with pytest.raises(UsageError, match="Line 1"):
        Users(tmp_path / "users")
