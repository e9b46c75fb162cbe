import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from s2p_lib.config import Settings, read_config, released_config
from s2p_lib.run import Run, resolve

# The keys and values of the released S2P configuration.
RELEASED = {
    "model_name": "s2p",
    "net_name": "S2P",
    "num_workers": 6,
    "b_filter_imgs": False,
    "params": {
        "seed": 789,
        "max_num_epochs": 1000,
        "batch_size_train": 100,
        "batch_size_val": 100,
        "batch_size": 100,
        "optimizer": "Adam",
        "init_lr": 0.001,
        "lr_reduce_factor": 0.5,
        "lr_schedule_patience": 10,
        "min_lr": 1e-5,
        "max_lr": 0.1,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "max_time": 12,
        "training_mode": "crossval",
        "fold_id": 0,
        "measure": "balanced_accuracy",
        "use_bce": False,
        "resume": False,
    },
    "net_params": {"num_out_classes": 2, "num_scene_cat": 365, "backbone_arch": "resnet50", "n_graph_nodes": 365},
}


@pytest.fixture
def write(tmp_path):
    def write(top=(), **params) -> str:
        content = RELEASED | dict(top) | {"params": RELEASED["params"] | params}
        path = tmp_path / "s2p_v1.0.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def test_the_released_configuration_is_the_cards_training(write):
    config = read_config(write())
    ours = {name: value for name, value in config.parameters.items() if name in asdict(Settings())}
    assert Settings(**ours | config.options) == Settings()
    assert config.parameters["fold"] == 0
    assert "backbone" not in config.parameters  # ResNet-50 is the default; the demo dataset has its stand-in


def test_what_is_not_used_is_named_with_the_reason(write):
    unused = read_config(write({"img_perturbe": {"perturbation_type": None}}, frobnicate=1)).unused
    assert {"frobnicate", "resume", "num_workers", "n_graph_nodes", "img_perturbe.perturbation_type"} <= set(unused)
    assert [key for key in unused if key.startswith("max_lr (Adam")]
    with_sgd = read_config(write(optimizer="SGD"))
    assert not [key for key in with_sgd.unused if key.startswith(("momentum", "max_lr"))]
    assert with_sgd.options["momentum"] == 0.9


@pytest.mark.parametrize(("mode", "fold"), [("final", "final"), ("original", "original"), ("crossval", 2)])
def test_the_training_mode_is_the_split(write, mode, fold):
    assert read_config(write(training_mode=mode, fold_id=2)).parameters["fold"] == fold


def test_another_backbone_and_the_missing_keys_are_taken(write):
    net = RELEASED["net_params"] | {"backbone_arch": "resnet18", "img_size": 224}
    parameters = read_config(write({"net_params": net}, weight_loss=True)).parameters
    assert (parameters["backbone"], parameters["image_size"], parameters["weight_loss"]) == ("resnet18", 224, True)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("optimizer", "RMSprop", "'Adam' or 'SGD'"),
        ("measure", "recall", "'balanced_accuracy'"),
        ("init_lr", "fast", "number"),
        ("init_lr", float("nan"), "finite number"),
        ("max_time", float("inf"), "finite number"),
        ("max_num_epochs", 0, "greater than or equal to 1"),
        ("use_bce", "yes", "boolean"),
        ("training_mode", "test", "'crossval', 'final' or 'original'"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(write, key, value, said):
    with pytest.raises(ValueError, match=rf"s2p_v1\.0\.json: {key}=.* is not allowed: .*{said}"):
        read_config(write(**{key: value}))


@pytest.mark.parametrize(
    "top", [{"net_name": "GIP"}, {"b_filter_imgs": True}, {"net_params": {"num_scene_cat": 10}}], ids=str
)
def test_the_configuration_of_another_network_is_refused(write, top):
    with pytest.raises(ValueError, match="is not allowed"):
        read_config(write(top))


NOT_CONFIGURATIONS = [
    "",
    "{",
    "[]",
    '{"a": 1}',
    '{"params": 3}',
    '{"params": {}, "net_params": [1]}',
    "\xff",
    "[" * 99_999,
]


@pytest.mark.parametrize("text", NOT_CONFIGURATIONS, ids=range(len(NOT_CONFIGURATIONS)))
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config .*c\.json (is no JSON file|has no object '(net_)?params')"):
        read_config(path)


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ValueError, match="is no JSON file"):
        read_config(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json not found; give a released configuration"):
        read_config(tmp_path / "nowhere.json")


@pytest.mark.parametrize("fold", [2, "final", "original"])
def test_a_written_configuration_reads_back_as_it_was(tmp_path, fold):
    settings = Settings(
        *(0.02, 33, 4, 0.3, 1e-4, 50, 1.5, 7, True),  # lr .. weight_loss
        *(12, "SGD", 0.1, 0.8, 0.4, "accuracy", True),  # val_batch_size .. use_bce
    )
    assert all(ours != cards for ours, cards in zip(asdict(settings).values(), asdict(Settings()).values()))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(released_config(settings, fold, "resnet18", 224)))
    read = read_config(path)
    parameters = dict(read.parameters)
    assert (parameters.pop("fold"), parameters.pop("backbone"), parameters.pop("image_size")) == (fold, "resnet18", 224)
    assert Settings(**parameters | read.options) == settings


def test_parameters_that_are_given_win_over_the_file(write):
    path = write(seed=5, init_lr=0.5)
    parameters, config = resolve({"config": path, "lr": 0.1, "seed": 789})
    assert (parameters.lr, parameters.seed) == (0.1, 789)  # a given default wins too
    assert parameters.max_epochs == 1000
    assert config.parameters["seed"] == 5


def test_a_batch_size_that_is_given_wins_over_both_of_the_file(write, tmp_path):
    params = {"config": write(batch_size_train=50, batch_size_val=20)}
    for given, expected in (({}, (50, 20)), ({"batch_size": 16}, (16, 16))):
        parameters, config = resolve(params | given)
        settings = Run.settings.fget(SimpleNamespace(p=parameters, config=config))
        assert (settings.batch_size, settings.val_batch_size) == expected


def test_a_notebook_takes_from_the_file_only_what_it_knows(write):
    parameters, _ = resolve({"config": write(seed=5, fold_id=1)}, known=("config", "fold"))
    assert (parameters.fold, parameters.seed) == (1, 789)
