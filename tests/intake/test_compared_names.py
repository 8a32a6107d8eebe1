"""A `cmp` tells which gradient a name of the student's own is."""

from __future__ import annotations

import pytest

from grader.intake.compared_names import compared_names, renamed

GRADIENTS, KNOWN = ("dh", "dW"), ("h", "W", "n")


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["hidden = W * 2\ncmp('h', hidden, h)"], {"hidden": "dh"}),
        (["hidden = W * 2\ndh = 1\ncmp('h', hidden, h)"], {}),
        (["cmp('h', hidden, h)"], {}),
        (["n = 2\ncmp('h', n, h)"], {}),
        (["a = 1\nb = 2\ncmp('h', a, h)\ncmp('h', b, h)"], {}),
        (["hidden = 1", "for i in z:\n  dh = 1", "cmp('h', hidden, h)"], {"hidden": "dh"}),
        (["hidden = 1\ncheck('h', hidden, h)\ncmp('h', hidden)"], {}),
    ],
)
def test_which_name_is_which_gradient(cells, found):
    assert compared_names(cells, GRADIENTS, KNOWN) == found


@pytest.mark.parametrize(
    ("source", "new"),
    [
        ("x = hid + hidden # hid", "x = dh + hidden # hid"),
        ("x.hid = 'hid'\n\nhid[0] = 1", "x.hid = 'hid'\n\ndh[0] = 1"),
        ("dh = hid", "dh = hid"),
        ("x = (hid", "x = (hid"),
        ("é = hid; hid += 1", "é = dh; dh += 1"),
    ],
)
def test_a_name_is_replaced_where_it_is_one(source, new):
    assert renamed(source, {"hid": "dh"}) == new
