import pytest

from s2p_lib.pictures import picture
from s2p_lib.report import _TEMPLATES


def test_what_is_not_to_be_shown_is_not_opened(tmp_path):
    assert picture(tmp_path / "gone.jpg", "scenes") is None
    with pytest.raises(ValueError, match="allowed: photos, blurred, scenes"):
        picture(tmp_path / "gone.jpg", "everything")


@pytest.mark.parametrize("name", ["base.html.jinja", "report.html.jinja"])
def test_no_script_is_in_the_report_or_allowed_there(name):
    source = _TEMPLATES.loader.get_source(_TEMPLATES, name)[0]
    assert "<script" not in source
    assert "script-src" not in source
