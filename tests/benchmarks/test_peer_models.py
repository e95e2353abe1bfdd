"""Models timed in turn, each in a process of its own."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import peer_models

OUTPUTS = {"detection_boxes": [1, 5, 4], "detection_scores": [1, 5], "detection_classes": [1, 5]}


def save(path, dtype=tf.uint8, **outputs):
    """Write a SavedModel with the OD API's signature that finds nothing."""

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], dtype)], autograph=False)
        def __call__(self, input_tensor):
            found = {name: tf.zeros(shape) for name, shape in outputs.items()}
            return found | {"num_detections": tf.reshape(tf.size(input_tensor), [1])}

    tf.saved_model.save(Module(), str(path))
    return str(path)


@pytest.mark.slow
def test_a_saved_model_is_called_in_its_own_process(tmp_path):
    path = save(tmp_path / "peer", **OUTPUTS)
    peer = peer_models.Peer(path, 4, 6)
    try:
        assert peer.load > 0
        answers = peer_models.measure({"peer": peer}, rounds=2, warmup=1)["peer"]
    finally:
        peer.close()
    assert len(answers) == 3  # the first call and the timed ones
    assert all(answer["wall"] > 0 and answer["number"] == 4 * 6 * 3 for answer in answers)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "lacks the outputs detection_boxes, detection_scores, detection_classes"),
        ({"dtype": tf.float32, **OUTPUTS}, "its input 'input_tensor' is float32, expected uint8"),
    ],
)
def test_other_saved_models_are_refused(tmp_path, more, words):
    path = save(tmp_path / "other", **more)
    with pytest.raises(ValueError, match=words):
        peer_models.load_saved_model(path)


def test_ratios_are_taken_round_by_round():
    def answers(*seconds):
        return [{"wall": s, "cpu": 2 * s, "number": 7.0} for s in seconds]

    found = peer_models.table(
        {"ours": 0.5, "peer": 8.0},
        {"ours": answers(3.0, 0.1, 0.4, 0.1), "peer": answers(9.0, 0.2, 0.8, 0.3)},
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.splitlines()[2:]]
    assert rows[0] == ["ours", "0.50", "3.00", "100", "1.00", "200", "1.00", "7"]
    assert rows[1] == ["peer", "8.00", "9.00", "300", "2.00", "600", "2.00", "7"]
    assert np.char.count(found, "of ours") == 2
