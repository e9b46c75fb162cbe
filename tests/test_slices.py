import numpy as np
import pandas as pd
import pytest

from s2p_lib import plots, slices
from s2p_lib.model import PACKAGE, SCENES
from s2p_lib.slices import CONTRADICTED, HOLDS, NOT_TESTABLE, UNDECIDED


def photos_of(*groups):
    """Predictions and scene logits of groups (n, top scene, prediction[, label]); images p0, p1, .."""
    rows = [(scene, prediction, (*label, "public")[0]) for n, scene, prediction, *label in groups for _ in range(n)]
    table = pd.DataFrame(rows, columns=["scene", "prediction", "label"]).assign(
        image=lambda t: [f"p{i}" for i in t.index]
    )
    logits = np.random.default_rng(0).normal(size=(len(table), len(SCENES))).astype(np.float32)
    logits[np.arange(len(table)), [SCENES.index(scene) for scene in table["scene"]]] = 20
    return table.drop(columns="scene"), logits


def truth_of(table, people, case="other"):
    return pd.DataFrame({"image": table["image"], "people": people, "case": case})


def finding(statement, *groups):
    judged = slices.judge_slices(*photos_of(*groups))
    found = judged.loc[judged["statement"] == statement, "finding"].unique()
    assert len(found) == 1  # all rows of a statement share it
    return found[0]


def test_every_places365_scene_is_indoor_or_outdoor():
    table = pd.read_csv(PACKAGE / "scene_places.csv")
    assert tuple(table["scene"]) == SCENES
    assert set(table["place"]) == {"indoor", "outdoor"}
    for place in ("indoor", "outdoor"):
        assert (table.loc[table["scene"].str.endswith(f"/{place}"), "place"] == place).all()


def test_statements_name_scenes_that_exist_and_no_scene_twice():
    for statement in slices.STATEMENTS:
        for where in statement.slices.values():
            scenes = where.get("top_scene", ())
            assert set(scenes) <= set(SCENES)
            assert len(scenes) == len(set(scenes))


def test_nothing_is_dropped_and_what_cannot_be_tested_says_what_it_needs():
    judged = slices.judge_slices(*photos_of((3, "street", "public")))
    assert list(judged.columns) == slices.COLUMNS
    assert set(judged["statement"]) == {statement.id for statement in slices.STATEMENTS}
    untestable = judged[judged["finding"] == NOT_TESTABLE]
    assert set(untestable["statement"]) == {"people-presence", "escape-room", "labels"}
    assert untestable["value"].isna().all()
    assert (judged["why"].str.len() > 20).all()


def test_no_photo_at_all_decides_nothing():
    table, logits = photos_of((1, "street", "public"))
    judged = slices.judge_slices(table.head(0), logits[:0], truth_of(table, "one"))
    assert set(judged["finding"]) == {UNDECIDED, NOT_TESTABLE}


@pytest.mark.parametrize(
    ("statement", "scene", "label", "private", "public", "expected"),
    [
        ("bathroom", "bathroom", "public", 10, 0, HOLDS),
        ("bathroom", "shower", "public", 0, 10, CONTRADICTED),
        ("bathroom", "bathroom", "public", 6, 5, UNDECIDED),
        ("bathroom", "bathroom", "public", 9, 0, UNDECIDED),  # too few
        ("bathroom", "bedroom", "public", 50, 0, UNDECIDED),  # another scene
        ("religious", "church/indoor", "public", 25, 25, HOLDS),
        ("religious", "temple/asia", "public", 0, 50, CONTRADICTED),
        ("religious", "mosque/outdoor", "public", 12, 38, UNDECIDED),
        ("office-like", "classroom", "private", 2, 20, HOLDS),
        ("office-like", "office", "public", 20, 2, CONTRADICTED),
        ("beach-gym", "beach", "private", 1, 20, HOLDS),
        ("beach-gym", "gymnasium/indoor", "private", 20, 1, CONTRADICTED),
        ("beach-gym", "beach", "public", 1, 20, UNDECIDED),  # no photo labelled private
    ],
)
def test_a_share_is_held_against_the_statements_bounds(statement, scene, label, private, public, expected):
    groups = [(private, scene, "private", label), (public, scene, "public", label)]
    assert finding(statement, *groups) == expected


def test_indoor_and_outdoor_must_both_have_both_classes():
    mixed = [(n, scene, called) for scene in ("kitchen", "street") for n, called in ((20, "private"), (20, "public"))]
    assert finding("indoor-outdoor", *mixed) == HOLDS
    assert finding("indoor-outdoor", *mixed[:2], (200, "street", "public")) == CONTRADICTED
    assert finding("indoor-outdoor", *mixed[:2], (30, "street", "public")) == UNDECIDED
    assert finding("indoor-outdoor", *mixed[:2], (9, "street", "public")) == UNDECIDED


def test_the_row_tells_the_share_its_photos_and_its_interval():
    judged = slices.judge_slices(*photos_of((8, "bathroom", "private"), (4, "shower", "public"))).set_index("statement")
    row = judged.loc["bathroom"]
    assert (row["photos"], row["value"]) == (12, pytest.approx(8 / 12))
    assert "12 photos" in row["why"]
    assert "66.7 %" in row["why"]
    assert row["low"] < row["value"] < row["high"]


def people_rows(table, logits, people):
    judged = slices.judge_slices(table, logits, truth_of(table, people))
    return judged[judged["statement"] == "people-presence"].reset_index(drop=True)


def test_people_do_not_matter_where_only_the_scene_does():
    """People are mostly in the kitchens, all called private: the plain shares differ by 60 points, this must not."""
    table, logits = photos_of((1000, "kitchen", "private"), (1000, "street", "public"))
    people = ["one"] * 800 + ["none"] * 200 + ["group"] * 200 + ["none"] * 800
    rows = people_rows(table, logits, people)
    assert rows["value"].tolist() == pytest.approx([0.5, 0.5, 0], abs=1e-12)
    assert set(rows["finding"]) == {HOLDS}


def test_people_matter_where_the_decision_follows_them():
    table, logits = photos_of(*[(30, s, called) for s in ("kitchen", "street") for called in ("private", "public")])
    rows = people_rows(table, logits, table["prediction"].map({"private": "one", "public": "none"}))
    assert rows["value"].tolist() == pytest.approx([1, 0, 1])
    assert set(rows["finding"]) == {CONTRADICTED}


def test_the_difference_is_that_of_mantel_and_haenszel():
    """By hand: kitchen 3 of 4 with, 1 of 2 without; street 1 of 3 with, 0 of 7 without; weights 4*2/6 and 3*7/10."""
    table, logits = photos_of(
        (3, "kitchen", "private"), (1, "kitchen", "public"), (1, "kitchen", "private"), (1, "kitchen", "public"),
        (1, "street", "private"), (2, "street", "public"), (7, "street", "public"), (5, "beach", "private"),
    )  # fmt: skip
    people = ["one"] * 4 + ["none"] * 2 + ["group"] * 3 + ["none"] * 7 + ["one"] * 5  # beach: never without
    rows = people_rows(table, logits, people)
    kitchen, street = 4 * 2 / 6, 3 * 7 / 10
    expected = (kitchen * (3 / 4 - 1 / 2) + street * (1 / 3 - 0)) / (kitchen + street)
    assert rows["value"].iloc[2] == pytest.approx(expected)
    assert rows["photos"].tolist() == [7, 9, 16]
    assert set(rows["finding"]) == {UNDECIDED}  # fewer than ten


def test_with_one_scene_the_difference_has_newcombes_interval():
    """The published example (Newcombe 1998, method 10): 56 of 70 and 48 of 80 give 0.2 (0.0524 to 0.3339)."""
    table, logits = photos_of(
        (56, "street", "private"), (14, "street", "public"), (48, "street", "private"), (32, "street", "public")
    )
    row = people_rows(table, logits, ["one"] * 70 + ["none"] * 80).iloc[2]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)  # as printed


def test_scenes_that_never_show_both_leave_people_undecided():
    table, logits = photos_of((20, "kitchen", "private"), (20, "street", "public"))
    rows = people_rows(table, logits, ["one"] * 20 + ["none"] * 20)
    assert set(rows["finding"]) == {UNDECIDED}
    assert rows["photos"].eq(0).all()


def test_escape_rooms_are_known_from_the_truth_alone():
    table, logits = photos_of((20, "basement", "private"), (20, "basement", "public"))
    known = slices.judge_slices(table, logits, truth_of(table, "none", "escape room")).set_index("statement")
    assert known.loc["escape-room", "finding"] == HOLDS
    people_only = truth_of(table, "none").drop(columns="case")
    unknown = slices.judge_slices(table, logits, people_only).set_index("statement")
    assert unknown.loc["escape-room", "finding"] == NOT_TESTABLE


def test_truth_is_joined_by_name_and_may_hold_more_photos():
    table, logits = photos_of((4, "kitchen", "private"), (4, "street", "public"))
    truth = truth_of(table, ["one"] * 4 + ["none"] * 4)
    more = pd.concat([truth, truth.assign(image="other_" + truth["image"])]).sample(frac=1, random_state=1)
    photos = slices.describe_photos(table, logits, more)
    assert photos["image"].tolist() == table["image"].tolist()
    assert photos["people"].tolist() == truth["people"].tolist()
    assert photos["top_scene"].tolist() == ["kitchen"] * 4 + ["street"] * 4
    assert photos["place"].tolist() == ["indoor"] * 4 + ["outdoor"] * 4


def test_input_that_does_not_fit_is_named():
    table, logits = photos_of((4, "kitchen", "private"))
    truth = truth_of(table, "one")
    for bad, message in [
        ((table.drop(columns="label"), logits, None), "lack the column.*label"),
        ((table, logits[:3], None), r"\(3, 365\); 4 photos need \(4, 365\)"),
        ((table, np.where(np.arange(4)[:, None] == 2, np.nan, logits), None), "1 photo.*no number: p2"),
        ((table.assign(image="p0"), logits, None), "3 photo.*more than one row"),
        ((table.assign(prediction="0"), logits, None), "4 photo.*prediction other than private and public: p0, p1, p2"),
        ((table, logits, truth.head(3)), "lacks 1 of 4 photos: p3"),
        ((table, logits, truth.assign(people="two")), "4 row.*'two'.*none, one, group"),
        ((table, logits, pd.concat([truth, truth])), "4 image.*more than once"),
        ((table, logits, truth.drop(columns="people")), "lacks the column.*people"),
    ]:
        with pytest.raises(ValueError, match=message):
            slices.judge_slices(*bad)


def test_the_figure_has_a_line_for_each_slice_and_leaves_the_difference_out():
    table, logits = photos_of((20, "kitchen", "private"), (20, "kitchen", "public"))
    judged = slices.judge_slices(table, logits, truth_of(table, ["one", "none"] * 20))
    figure = plots.plot_slices(judged)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(names) == len(judged) - 1
    assert names[-1] == "labels"
    plots.png_uri(figure)  # closes it
