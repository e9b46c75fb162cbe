import pytest

from s2p_lib import readme


def test_tables_that_follow_from_the_code_are_up_to_date():
    """If this fails, run ``make readme``."""
    text = readme.README.read_text()
    assert readme.fill(text, readme.STATIC) == text


def test_a_block_is_replaced_and_the_rest_stays():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert readme.fill(text, {"x": lambda: r"new \1"}) == "a\n<!-- x -->\nnew \\1\n<!-- /x -->\nb\n"


def test_a_missing_block_is_an_error():
    with pytest.raises(KeyError, match="no block 'y'"):
        readme.fill("text", {"y": str})


def test_cells_cannot_break_a_markdown_table():
    assert readme.markdown_table(["a"], [("x | y",)]).splitlines()[2] == "| x \\| y |"
