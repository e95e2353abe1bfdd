import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.ops.anchors import GridAnchorGenerator
from tests.golden.ops_cases import each_case
from tests.ops.graphs import call_with_unknown_sizes

ARGUMENTS = {
    "base_anchor_size": "base_anchor_size",
    "anchor_stride": "stride",
    "anchor_offset": "offset",
}


@each_case("grid_anchors")
def test_golden(case):
    params = case.params
    options = {ours: params[theirs] for theirs, ours in ARGUMENTS.items() if theirs in params}
    generator = GridAnchorGenerator(params["scales"], params["aspect_ratios"], **options)
    assert generator.num_anchors_per_location == params["num_anchors_per_location"]
    anchors = generator.generate(*params["feature_map_shape"])
    assert anchors.dtype == tf.float32
    np.testing.assert_allclose(anchors, case.expected["anchors"], rtol=1e-5, atol=1e-5)


def test_by_hand():
    """A 100 x 100 anchor, and one twice as wide as high of the same area."""
    generator = GridAnchorGenerator(
        scales=[1.0], aspect_ratios=[1.0, 4.0], base_anchor_size=(100, 100), stride=(10, 20)
    )
    np.testing.assert_allclose(
        generator.generate(1, 2),
        [[-50, -50, 50, 50], [-25, -100, 25, 100], [-50, -30, 50, 70], [-25, -80, 25, 120]],
    )


def test_sizes_of_the_map_may_be_tensors():
    generator = GridAnchorGenerator(scales=(0.5, 1.0), aspect_ratios=(1.0, 2.0))
    expected = generator.generate(3, 5)
    assert expected.shape == (3 * 5 * 4, 4)
    np.testing.assert_array_equal(
        call_with_unknown_sizes(generator.generate, np.int32(3), np.int32(5)), expected
    )


def test_static_shape_in_a_graph():
    generator = GridAnchorGenerator(scales=(0.5, 1.0), aspect_ratios=(1.0, 2.0))
    graph = tf.function(lambda: generator.generate(3, 5), autograph=False).get_concrete_function()
    assert graph.structured_outputs.shape == (60, 4)


def test_an_empty_map_has_no_anchor():
    assert GridAnchorGenerator((1.0,), (1.0,)).generate(0, 7).shape == (0, 4)


def test_equal_settings_are_equal():
    assert GridAnchorGenerator([1], [2]) == GridAnchorGenerator((1.0,), (2.0,))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (1.0, -2.0)}, "-2.0"),
        ({"aspect_ratios": (0.0,)}, "aspect_ratios"),
        ({"stride": (16,)}, "stride"),
        ({"base_anchor_size": (256.0, 0.0)}, "base_anchor_size"),
        ({"offset": (1.0, 2.0, 3.0)}, "offset"),
    ],
)
def test_wrong_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        GridAnchorGenerator(**{"scales": (1.0,), "aspect_ratios": (1.0,), **arguments})
