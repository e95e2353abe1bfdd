import json

import pytest
import tensorflow as tf

from object_detection_mtl.training.best_checkpoint import BestCheckpoint

MAP = "DetectionBoxes_Precision/mAP"


def checkpoint(directory, number):
    prefix = directory / f"ckpt-{number}"
    for extension in ("index", "data-00000-of-00001"):
        prefix.with_name(f"{prefix.name}.{extension}").write_text(f"{number} {extension}")
    return str(prefix)


def consider(directory, values, metric=MAP, **options):
    """Return which of the values improve, one checkpoint each."""
    best = BestCheckpoint(directory, metric if options.pop("named", True) else None, **options)
    return [
        best.consider(checkpoint(directory, number), 10 * number, {"a": 0.0, metric: value})
        for number, value in enumerate(values, start=1)
    ], best


def test_the_best_checkpoint_stays(tmp_path):
    improved, _ = consider(tmp_path, [0.2, 0.5, 0.4])
    assert improved == [True, True, False]
    names = {path.name for path in (tmp_path / "best").iterdir()}
    assert names == {"ckpt-2.index", "ckpt-2.data-00000-of-00001", "checkpoint", "best.json"}
    assert (tmp_path / "best" / "ckpt-2.index").read_text() == "2 index"
    assert tf.train.latest_checkpoint(str(tmp_path / "best")) == str(tmp_path / "best" / "ckpt-2")
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {
        "metric": MAP,
        "value": 0.5,
        "step": 20,
        "evaluations_since": 1,
    }


def test_a_smaller_loss_is_better(tmp_path):
    improved, _ = consider(tmp_path, [2.0, 3.0, 1.0], metric="Loss/total_loss")
    assert improved == [True, False, True]


def test_nan_and_equal_values_do_not_improve(tmp_path):
    improved, _ = consider(tmp_path, [float("nan"), 0.5, 0.5, float("nan")])
    assert improved == [False, True, False, False]


def test_without_a_name_the_first_map_counts(tmp_path):
    improved, _ = consider(tmp_path, [0.5, 0.6], named=False)
    assert improved == [True, True]


def test_patience_counts_evaluations_over_a_restart(tmp_path):
    _, best = consider(tmp_path, [0.5, 0.4], patience=2)
    assert not best.is_exhausted
    again = BestCheckpoint(tmp_path, MAP, patience=2)
    assert not again.consider(checkpoint(tmp_path, 9), 90, {MAP: 0.3})
    assert again.is_exhausted
    assert not BestCheckpoint(tmp_path, MAP).is_exhausted


def test_another_metric_begins_anew(tmp_path):
    consider(tmp_path, [0.5])
    best = BestCheckpoint(tmp_path, "Loss/total_loss")
    assert best.consider(checkpoint(tmp_path, 9), 90, {"Loss/total_loss": 7.0})


def test_an_unknown_metric_is_refused(tmp_path):
    best = BestCheckpoint(tmp_path, "mAP")
    with pytest.raises(
        ValueError, match="metric 'mAP' is not a metric of the evaluation; it has a"
    ):
        best.consider("ckpt-1", 1, {"a": 1.0})


def test_patience_is_at_least_one(tmp_path):
    with pytest.raises(ValueError, match="patience is 0"):
        BestCheckpoint(tmp_path, patience=0)
