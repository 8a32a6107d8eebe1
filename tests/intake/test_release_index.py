"""How alike two statements are: difflib's answer, which isn't waited for where a bound says that it is too small."""

from __future__ import annotations

import difflib

from hypothesis import given
from hypothesis import strategies as st

from grader.intake.release_index import ALIKE, common_length, ratio

SHORT = st.text("ab(x", max_size=30)


@given(SHORT, SHORT)
def test_the_ratio_is_difflibs_wherever_that_is_large_enough(one, other):
    theirs = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
    assert ratio(one, other) == theirs if theirs >= ALIKE else ratio(one, other) < ALIKE


@given(SHORT, SHORT)
def test_the_common_length_is_that_of_the_longest_common_subsequence(one, other):
    row = [0] * (len(other) + 1)
    for character in one:
        above, row = row, [0]
        for place, letter in enumerate(other):
            row.append(above[place] + 1 if character == letter else max(above[place + 1], row[place]))
    assert common_length(one, other) == row[-1]
