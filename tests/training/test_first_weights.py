"""First weights depend on the seed and a variable's name, and on nothing else."""

import re

import numpy as np
import pytest

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.config import pipeline
from object_detection_mtl.training import first_weights
from tests.golden.model_runner import SAMPLES

TASKS = ("window", "closeness", "edgemask", "refine")
VARIANTS = {
    "baseline": (),
    "window": ("window",),
    "closeness": ("closeness",),
    "foreground": ("edgemask",),
    "all+refine": TASKS,
}
CONFIGS = {
    "faster_rcnn": "faster_rcnn_mobilenet_v1_mtl_bccd.config",
    "rfcn": "rfcn_mobilenet_v1_mtl_bccd.config",
}


def first_values(config, tasks, *, seed=1):
    """Name -> first value of every variable of a sample config with `tasks` on."""
    overrides = [f"model.mtl.{task}={str(task in tasks).lower()}" for task in TASKS]
    loaded = pipeline.load(str(SAMPLES / config), overrides=overrides)
    detector = model_builder.build(loaded.model, is_training=True)
    first_weights.draw(detector, seed)
    return {name: v.numpy() for name, v in native.named_variables(detector).items()}


def is_random(name):
    return name.endswith("weights")


@pytest.fixture(scope="module", params=list(CONFIGS))
def values(request):
    """Values of every variant."""
    config = CONFIGS[request.param]
    return {variant: first_values(config, tasks) for variant, tasks in VARIANTS.items()}


@pytest.mark.parametrize("variant", list(VARIANTS)[1:])
def test_a_task_leaves_the_other_weights_as_they_are(values, variant):
    baseline, with_tasks = values["baseline"], values[variant]
    assert baseline.keys() < with_tasks.keys()
    for name, value in baseline.items():
        np.testing.assert_array_equal(with_tasks[name], value, err_msg=name)


def test_a_head_has_the_same_weights_alone_and_with_others(values):
    everything = values["all+refine"]
    for variant in ("window", "closeness", "foreground"):
        for name, value in values[variant].items():
            np.testing.assert_array_equal(everything[name], value, err_msg=name)


def test_every_head_has_its_own_weights(values):
    """Copies of stage 2 included: no checkpoint is loaded here."""
    everything = {name: v for name, v in values["all+refine"].items() if is_random(name)}
    stages = [name for name in everything if re.match(r"\w+/MobilenetV1/Conv2d_13_", name)]
    assert len({name.split("/")[0] for name in stages}) == 3  # main, window, closeness
    drawn = {}
    for name, value in everything.items():
        other = drawn.setdefault((value.shape, value.ravel()[0]), name)
        assert other == name, f"{name} starts like {other}"


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_another_seed_gives_other_weights(config):
    one, two = (first_values(config, TASKS, seed=seed) for seed in (1, 2))
    for name, value in one.items():
        assert np.any(value != two[name]) == is_random(name), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", ["resnet101", pytest.param("inception_resnet_v2", marks=pytest.mark.long)]
)
def test_every_kernel_of_the_other_networks_is_drawn(network):
    """Built twice in other states of Keras's generator, a network starts with the same values."""
    config = f"faster_rcnn_{network}_mtl_voc07.config"
    one, two = (first_values(config, TASKS) for _ in range(2))
    for name, value in one.items():
        np.testing.assert_array_equal(two[name], value, err_msg=name)


def test_values_are_those_of_the_initializer():
    """The sample's predictors draw a truncated normal of 0.01."""
    name = "SecondStageBoxPredictor/ClassPredictor/weights"
    value = first_values(CONFIGS["faster_rcnn"], ())[name]
    # Truncation at two deviations leaves 0.8796 of the deviation.
    assert np.std(value) == pytest.approx(0.008796, rel=0.05)
    assert np.max(np.abs(value)) <= 0.02


def test_seeds_of_variables():
    seeds = {
        first_weights.variable_seed(seed, name)
        for seed in (0, 1, 2**32 - 1)
        for name in ("a/weights", "b/weights")
    }
    assert len(seeds) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)
