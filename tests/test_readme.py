import re

import pytest
from PIL import Image

from s2p_lib import readme
from s2p_lib.claims import CLAIMS

DOCUMENTS = pytest.mark.parametrize("document", list(readme.STATIC), ids=lambda path: path.name)
LINK = re.compile(r"\]\(([^)]+)\)")


def block(document, name: str) -> str:
    return document.read_text().split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]


@DOCUMENTS
def test_tables_that_follow_from_the_code_are_up_to_date(document):
    """If this fails, run ``make readme``."""
    text = document.read_text()
    assert readme.fill(text, readme.STATIC[document]) == text


@pytest.mark.parametrize(("document", "name"), [(d, name) for d, blocks in readme.MEASURED.items() for name in blocks])
def test_every_measured_block_is_filled(document, name):
    """If this fails, run ``make reproduce test bench readme``."""
    if name.startswith("experiment"):
        assert re.fullmatch(r"\n- Time: .*\d.*\n- Storage: .*\d.*\n", block(document, name))
    elif name == "machine":
        assert "processor cores" in block(document, name)
    else:
        assert block(document, name).count("\n| ") >= 3


@DOCUMENTS
def test_every_block_of_a_document_is_written_by_code(document):
    blocks = set(re.findall(r"^<!-- ([^/].*) -->$", document.read_text(), re.MULTILINE))
    assert blocks == set(readme.STATIC[document]) | set(readme.MEASURED[document])


@DOCUMENTS
def test_linked_files_are_there(document):
    links = [link for link in LINK.findall(document.read_text()) if not link.startswith(("https://", "#"))]
    assert links
    assert [link for link in links if not (readme.ROOT / link).is_file()] == []


@pytest.mark.parametrize("name", readme.SCREENSHOTS)
def test_screenshots_are_wide_enough_to_read_and_small_to_load(name):
    """If this fails, run ``make screenshots``."""
    path = readme.SCREENSHOTS[name]
    with Image.open(path) as picture:
        assert picture.width == 1100
    assert path.stat().st_size < 300_000
    assert path.name in readme.README.read_text()


def test_screenshots_without_a_browser_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(readme, "CHROMIUM", tmp_path / "chromium")
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"):
        readme.take_screenshots()


def test_links_within_the_appendix_lead_to_its_headings():
    text = readme.APPENDIX.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = {link.removeprefix("#") for link in LINK.findall(text) if link.startswith("#")}
    assert len(links) == 4
    assert links <= anchors


def test_the_appendix_has_every_section_of_the_form():
    """Sections that PETS 2026 asks for, in its order."""
    asked = [
        *("Artifact Appendix", "Description", "Security/Privacy Issues and Ethical Concerns", "Basic Requirements"),
        *("Hardware Requirements", "Software Requirements", "Estimated Time and Storage Consumption", "Environment"),
        *("Accessibility", "Set up the environment", "Testing the Environment", "Artifact Evaluation"),
        *("Main Results and Claims", "Experiments", "Limitations", "Notes on Reusability"),
    ]
    headings = re.findall(r"^#{1,3} (.+)$", readme.APPENDIX.read_text(), re.MULTILINE)
    assert headings == asked


def test_every_claim_has_an_experiment_of_the_appendix():
    text = readme.APPENDIX.read_text()
    experiments = {int(number) for number in re.findall(r"^#### Experiment (\d):", text, re.MULTILINE)}
    assert {readme.EXPERIMENT_OF_TIER[claim.tier] for claim in CLAIMS} <= experiments
    assert [name for name in (claim.id for claim in CLAIMS) if f"| `{name}` |" not in text] == []


def test_a_block_is_replaced_and_the_rest_stays():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert readme.fill(text, {"x": lambda: r"new \1"}) == "a\n<!-- x -->\nnew \\1\n<!-- /x -->\nb\n"


def test_a_missing_block_is_an_error():
    with pytest.raises(KeyError, match="no block 'y'"):
        readme.fill("text", {"y": str})


def test_cells_cannot_break_a_markdown_table():
    assert readme.markdown_table(["a"], [("x | y",)]).splitlines()[2] == "| x \\| y |"
