import numpy as np
import pytest

from object_detection_mtl.evaluation.inference_journal import InferenceJournal


def make_batch(*ids):
    return {"image_id": np.array([i.encode() for i in ids], dtype=object)}


class Detector:
    """Counts its calls; fails at one of them."""

    def __init__(self, fail_at=None):
        self.calls = []
        self.fail_at = fail_at

    def __call__(self, batch):
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(batch["image_id"][0])
        length = float(len(batch["image_id"][0]))
        return {"scores": np.array([[length, 0.5]], np.float32), "Loss/a": length, "large": 1}


BATCHES = [make_batch("a"), make_batch("bb"), make_batch("ccc", "d"), make_batch("")]


def evaluate(path, detector, batches=BATCHES, identity="model", **options):
    journal = InferenceJournal(str(path), identity)
    infer = journal.record(detector, skip=frozenset(["large"]), **options)
    try:
        results = [infer(batch) for batch in batches]
    finally:
        journal.close()
    return journal, results


def interrupt(path, done):
    with pytest.raises(KeyboardInterrupt):
        evaluate(path, Detector(fail_at=done))


@pytest.mark.parametrize("done", [0, 1, 3])
def test_only_what_is_missing_is_computed(tmp_path, done):
    path = tmp_path / "eval" / "journal"
    interrupt(path, done)
    detector = Detector()
    journal, results = evaluate(path, detector)
    assert journal.num_recorded == done
    assert len(detector.calls) == len(BATCHES) - done
    expected = [Detector()(batch) for batch in BATCHES]
    for found, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(found["scores"], wanted["scores"])
        assert float(found["Loss/a"]) == wanted["Loss/a"]
    assert all("large" not in found for found in results[:done])
    journal.remove()
    assert not list(path.parent.iterdir())


def test_two_interruptions(tmp_path):
    interrupt(tmp_path / "journal", 1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "journal", Detector(fail_at=2))
    journal, _ = evaluate(tmp_path / "journal", detector := Detector())
    assert journal.num_recorded == 3
    assert detector.calls == [b""]


def test_a_truncated_record_is_computed_again(tmp_path):
    path = tmp_path / "journal"
    interrupt(path, 3)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) - 20):
        path.write_bytes(whole[:size])
        journal, _ = evaluate(path, detector := Detector())
        assert journal.num_recorded == 2
        assert len(detector.calls) == 2


def test_a_damaged_byte_ends_what_is_read(tmp_path):
    path = tmp_path / "journal"
    interrupt(path, 3)
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    journal, _ = evaluate(path, Detector())
    assert journal.num_recorded == 2


@pytest.mark.parametrize("content", [b"", b"not a journal"])
def test_a_file_of_something_else_is_replaced(tmp_path, content):
    (tmp_path / "journal").write_bytes(content)
    journal, _ = evaluate(tmp_path / "journal", detector := Detector())
    assert journal.num_recorded == 0
    assert len(detector.calls) == len(BATCHES)


def test_the_journal_of_another_model_is_replaced(tmp_path):
    interrupt(tmp_path / "journal", 2)
    journal, _ = evaluate(tmp_path / "journal", detector := Detector(), identity="other")
    assert journal.num_recorded == 0
    assert len(detector.calls) == len(BATCHES)


def test_other_images_are_computed_and_recorded_in_place_of_the_old(tmp_path):
    interrupt(tmp_path / "journal", 3)
    batches = [BATCHES[0], make_batch("x"), make_batch("y")]
    evaluate(tmp_path / "journal", detector := Detector(), batches)
    assert detector.calls == [b"x", b"y"]
    evaluate(tmp_path / "journal", detector := Detector(), batches)
    assert detector.calls == []


def test_needed_batches_are_computed_but_not_recorded_twice(tmp_path):
    interrupt(tmp_path / "journal", 2)
    detector = Detector()
    _, results = evaluate(tmp_path / "journal", detector, is_needed=lambda: len(detector.calls) < 1)
    assert detector.calls == [b"a", b"ccc", b""]
    assert "large" in results[0]
    journal, _ = evaluate(tmp_path / "journal", Detector())
    assert journal.num_recorded == len(BATCHES)
