"""UUIDs that are made quickly are as those that are made by UUID itself."""

from __future__ import annotations

import pickle
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsrc.events._uuids import parsed, uuid_of


def assert_alike(made: UUID, plain: UUID) -> None:
    assert (made, repr(made), str(made), hash(made)) == (plain, repr(plain), str(plain), hash(plain))
    assert (made.bytes, made.version, made.is_safe) == (plain.bytes, plain.version, plain.is_safe)
    assert pickle.loads(pickle.dumps(made)) == plain


@given(st.integers(0, 2**128 - 1))
def test_a_number_makes_the_uuid_that_it_is(number: int) -> None:
    assert_alike(uuid_of(number), UUID(int=number))


@given(st.uuids(), st.sampled_from(["{}", "{{{}}}", "urn:uuid:{}"]), st.booleans(), st.booleans())
def test_a_text_is_read_as_uuid_reads_it(
    plain: UUID, form: str, with_hyphens: bool, is_upper: bool
) -> None:
    text = form.format(str(plain) if with_hyphens else plain.hex)
    assert_alike(parsed(text.upper() if is_upper and form == "{}" else text), plain)


@pytest.mark.parametrize("text", ["", "x" * 32, "0" * 31, "0" * 33, "-" * 32])
def test_a_text_that_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  as UUID does
        parsed(text)
