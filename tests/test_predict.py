import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from click.testing import CliRunner
from conftest import save_photo
from torch import nn

from s2p_lib import model as s2p
from s2p_lib import predict
from s2p_lib.__main__ import main
from s2p_lib.photos import open_photo
from s2p_lib.samples import PRIVATE_IS_0, PUBLIC_IS_0


@pytest.fixture(scope="module")
def demo_model():
    return s2p.load_s2p("demo")


@pytest.fixture
def three(tmp_path):
    for i in range(3):
        save_photo(tmp_path / "photos" / f"p{i}.jpg", i)
    return sorted((tmp_path / "photos").glob("*.jpg"))


def test_photos_are_predicted_by_the_whole_model(demo_model, three):
    model, transform = demo_model
    table = predict.predict_photos(three, model, transform)
    with torch.inference_mode():
        privacy = model(torch.stack([transform(open_photo(path)) for path in three])).softmax(1)[:, 0]
    # 1e-5: the same network, once in channels-last order
    np.testing.assert_allclose(table["p_private"].astype(float), privacy, atol=1e-5)
    assert table["image"].tolist() == ["p0", "p1", "p2"]
    assert (table["prediction"] == np.where(privacy >= 0.5, "private", "public")).all()


def test_scenes_come_with_their_part_in_the_log_odds(demo_model, three):
    model, transform = demo_model
    row = predict.predict_photos(three[:1], model, transform).iloc[0]
    with torch.inference_mode():
        logits = model.backbone(transform(open_photo(three[0]))[None])[0].double()
    order = torch.argsort(-logits)
    assert [row[f"scene_{k}"] for k in range(1, 6)] == [s2p.SCENES[i] for i in order[:5]]
    weight = model.scene_to_privacy_layer.weight.detach().double()
    expected = ((weight[0] - weight[1]) * logits)[order[0]].item()
    assert row["scene_1_log_odds"] == pytest.approx(expected, abs=1e-4)
    assert row["scene_1_p"] == pytest.approx(torch.sigmoid(logits[order[0]]).item(), abs=1e-5)


def test_a_bad_photo_does_not_stop_the_others(demo_model, three):
    three[1].write_bytes(b"no photo")
    table = predict.predict_photos([*three, three[0].with_name("gone.jpg")], *demo_model)
    assert table["problem"].notna().tolist() == [False, True, False, True]
    assert table["p_private"].notna().tolist() == [True, False, True, False]
    text = predict.describe(table)
    assert "p1: not predicted" in text
    assert text.count("not predicted") == 2
    assert f"p0: {table['prediction'][0]}, p_private" in text
    assert "Do not rely on these predictions" in text


def test_only_bad_photos_still_give_a_table(demo_model, tmp_path):
    table = predict.predict_photos([tmp_path / "gone.jpg"], *demo_model)
    assert table["problem"].tolist() == ["missing file"]


def test_folders_are_searched_for_photos(three, tmp_path):
    save_photo(tmp_path / "photos" / "deep" / "q.png", 9)
    (tmp_path / "photos" / "notes.txt").write_text("x")
    assert [p.name for p in predict.find_photos([tmp_path / "photos"])] == ["q.png", "p0.jpg", "p1.jpg", "p2.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no photo found"):
        predict.find_photos([tmp_path / "empty"])


@pytest.fixture(scope="module")
def released_tree(tmp_path_factory):
    """A checkpoint in the released PrivacyAlert form, nine photos, and what a plain PyTorch loop predicts for them."""
    folder = tmp_path_factory.mktemp("released")
    torch.manual_seed(0)
    net = torchvision.models.resnet50(num_classes=365)
    head = nn.Linear(365, 2)
    state = {f"backbone.{n}": t for n, t in net.state_dict().items()}
    state |= {f"scene_to_privacy_layer.{n}": t for n, t in head.state_dict().items()}
    checkpoint = folder / predict.DEMO_CHECKPOINT
    checkpoint.parent.mkdir(parents=True)
    torch.save({"net": state, "measure": np.float64(0.8), "epoch": 12, "type": "best"}, checkpoint)
    expected = {}
    transform = s2p.photo_transform(448)
    with torch.inference_mode():
        for i, image in enumerate(predict.RELEASED_DEMO):
            path = folder / predict.DEMO_PHOTOS / f"{image}.jpg"
            save_photo(path, i)
            p = head(net.eval()(transform(open_photo(path))[None])).softmax(1)[0]
            expected[image] = (p.max().item(), "private" if p.argmax() == 1 else "public")  # PrivacyAlert: 1 is private
    return folder, expected


@pytest.fixture
def released(released_tree, monkeypatch):
    folder, expected = released_tree
    monkeypatch.setattr(predict, "RELEASED_DEMO", expected)
    return folder


def test_the_nine_released_predictions_are_given_by_a_released_checkpoint(released):
    table, said = predict.check_released_demo(released)
    assert table["verdict"].tolist() == ["holds"] * 9
    assert said == "9 of 9 predictions agree to 0.0001; 0 not run"


def test_another_probability_or_class_contradicts_the_release(released, monkeypatch):
    first, second, *_ = predict.RELEASED_DEMO
    changed = dict(predict.RELEASED_DEMO)
    changed[first] = (changed[first][0] + 2e-4, changed[first][1])
    changed[second] = (changed[second][0], "private" if changed[second][1] == "public" else "public")
    monkeypatch.setattr(predict, "RELEASED_DEMO", changed)
    (released / "eight").mkdir()
    for image in list(changed)[:8]:
        shutil.copy(released / predict.DEMO_PHOTOS / f"{image}.jpg", released / "eight")
    monkeypatch.setattr(predict, "DEMO_PHOTOS", "eight")
    table, said = predict.check_released_demo(released)
    assert table["verdict"].tolist() == ["contradicted"] * 2 + ["holds"] * 6 + ["not run"]
    assert said == "6 of 8 predictions agree to 0.0001; 1 not run"


def test_without_the_files_the_check_is_not_run_and_says_how_to_get_them(tmp_path):
    table, said = predict.check_released_demo(tmp_path)
    assert set(table["verdict"]) == {"not run"}
    assert said.startswith("not run: the released checkpoint not found")
    assert "s2p fetch checkpoints demo-photos" in said


def test_the_released_demo_is_the_one_of_the_facts():
    assert len(predict.RELEASED_DEMO) == 9
    assert sum(name == "private" for _, name in predict.RELEASED_DEMO.values()) == 5
    assert all(0.5 < p < 1 for p, _ in predict.RELEASED_DEMO.values())


@pytest.mark.parametrize("use_bce", [False, True])
def test_a_checkpoint_in_privacyalerts_order_predicts_the_same(use_bce, tmp_path, three):
    """Its first logit is public; whether the file says so, or the caller does."""
    model, transform = s2p.load_s2p("demo", seed=3, use_bce=use_bce)
    expected = predict.predict_photos(three, model, transform)["p_private"].tolist()
    s2p.write_checkpoint(tmp_path / "pa.pth", model, 0.5, 1, codes=PUBLIC_IS_0)
    content = torch.load(tmp_path / "pa.pth", weights_only=True)
    assert content["classes"] == ["public", "private"]
    bias = content["net"]["scene_to_privacy_layer.weight"]
    own = model.scene_to_privacy_layer.weight
    assert torch.equal(bias, -own if use_bce else own.flip(0))
    for codes, keep in ((PRIVATE_IS_0, True), (PUBLIC_IS_0, False)):
        if not keep:
            del content["classes"]
            torch.save(content, tmp_path / "pa.pth")
        loaded, _ = s2p.load_checkpoint(tmp_path / "pa.pth", "demo", codes=codes)
        assert predict.predict_photos(three, loaded, transform)["p_private"].tolist() == expected


def test_the_command_writes_a_table_and_warns(tmp_path, three, demo_model):
    checkpoint = tmp_path / "checkpoint.pth"
    run = tmp_path / "run"
    run.mkdir()
    s2p.write_checkpoint(checkpoint.with_name("run") / "checkpoint.pth", demo_model[0], 0.5, 1)
    (run / "manifest.json").write_text(
        '{"parameters": {"dataset": "demo", "features": "photos", "backbone": null, "image_size": null}}'
    )
    out = tmp_path / "p.csv"
    done = CliRunner().invoke(main, ["predict", str(three[0].parent), "--run", str(run), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "Do not rely on these predictions" in done.output
    assert "drawn by the kit" in done.output
    header = out.read_text().splitlines()[0].split(",")
    assert header[:5] == ["image", "path", "p_private", "prediction", "problem"]
    assert header[-3:] == ["scene_5", "scene_5_p", "scene_5_log_odds"]


def test_the_command_names_a_dataset_that_it_does_not_know(three):
    done = CliRunner().invoke(main, ["predict", str(three[0]), "--trained-on", "imagenet"])
    assert done.exit_code == 1
    assert "'imagenet' is unknown; allowed: demo, ipd, privacyalert" in done.output


def test_a_damaged_released_checkpoint_is_not_run_and_ends_no_run(released, tmp_path):
    checkpoint = tmp_path / predict.DEMO_CHECKPOINT
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"garbage")
    shutil.copytree(released / "demo_photos", tmp_path / predict.DEMO_PHOTOS)
    table, said = predict.check_released_demo(tmp_path)
    assert set(table["verdict"]) == {"not run"}
    assert "was not read" in said


def test_the_command_needs_no_run_for_a_checkpoint_but_its_dataset(tmp_path, three, demo_model, monkeypatch):
    """A released file does not say which logit is private; a wrong guess would turn every prediction round."""
    monkeypatch.chdir(tmp_path)
    net = s2p.S2P(torchvision.models.resnet50(num_classes=365)).state_dict()
    torch.save({"net": net, "measure": 0.5, "epoch": 1, "type": "best"}, tmp_path / "released.pth")
    command = ["predict", str(three[0]), "--checkpoint", "released.pth"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "Say which dataset it was trained on (--trained-on" in done.output
    p = {}
    for dataset in ("ipd", "privacyalert"):
        done = CliRunner().invoke(main, [*command, "--trained-on", dataset, "--out", f"{dataset}.csv"])
        assert done.exit_code == 0, done.output
        p[dataset] = pd.read_csv(f"{dataset}.csv")["p_private"][0]
    assert p["ipd"] + p["privacyalert"] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--run", "."], "holds no trained model of a run"),
        (["--out", "nowhere/p.csv", "--run", "."], "there is no folder"),
        ([], "outputs/demo holds no trained model"),
    ],
)
def test_what_the_command_lacks_is_said_before_it_predicts(tmp_path, three, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint.pth").write_bytes(b"x")
    done = CliRunner().invoke(main, ["predict", str(three[0]), *options])
    assert done.exit_code == 1
    assert said in done.output.replace("\n", " ")


def test_a_head_from_published_scenes_needs_a_network_to_see_photos(tmp_path, three):
    given = '{"parameters": {"dataset": "ipd", "features": "published_scenes", "backbone": null, "image_size": null}}'
    (tmp_path / "manifest.json").write_text(given)
    s2p.write_checkpoint(tmp_path / "checkpoint.pth", s2p.load_s2p(s2p.NO_BACKBONE)[0], 0.5, 1)
    done = CliRunner().invoke(main, ["predict", str(three[0]), "--run", str(tmp_path)])
    assert done.exit_code == 1
    assert "--weights resnet50_places365.pth.tar" in done.output
