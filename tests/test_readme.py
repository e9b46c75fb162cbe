import re

import pytest

from s2p_lib import readme


def test_tables_that_follow_from_the_code_are_up_to_date():
    """If this fails, run ``make readme``."""
    text = readme.README.read_text()
    assert readme.fill(text, readme.STATIC) == text


@pytest.mark.parametrize("name", readme.MEASURED)
def test_every_measured_table_is_filled(name):
    """If this fails, run ``make reproduce test bench readme``."""
    block = readme.README.read_text().split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    assert block.count("\n| ") >= 3


def test_linked_files_are_there():
    links = re.findall(r"\]\(([^)]+)\)", readme.README.read_text())
    assert links
    assert [link for link in links if not (readme.ROOT / link).is_file()] == []


def test_a_block_is_replaced_and_the_rest_stays():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert readme.fill(text, {"x": lambda: r"new \1"}) == "a\n<!-- x -->\nnew \\1\n<!-- /x -->\nb\n"


def test_a_missing_block_is_an_error():
    with pytest.raises(KeyError, match="no block 'y'"):
        readme.fill("text", {"y": str})


def test_cells_cannot_break_a_markdown_table():
    assert readme.markdown_table(["a"], [("x | y",)]).splitlines()[2] == "| x \\| y |"
