"""Progress log: complete lines are kept after any interruption."""

import json

import pytest

from object_detection_mtl.inference.writers.progress_log import PROGRESS_FILE, ProgressLog

RUN = {"model": "m"}


def entry(number, **more):
    return {"image": {"id": number}, **more}


def write(directory, *numbers):
    with ProgressLog(directory, RUN) as log:
        for number in numbers:
            log.add(entry(number))
    return directory / PROGRESS_FILE


def numbers_of(log):
    return [one["image"]["id"] for one in log.entries()]


def test_entries_are_read_in_the_order_of_their_numbers(tmp_path):
    write(tmp_path, 2, 5)
    with ProgressLog(tmp_path, RUN) as log:
        assert (log.num_done, log.last) == (2, entry(5))
        log.add(entry(1))
        assert numbers_of(log) == [1, 2, 5]
        assert [log.is_done(number) for number in range(1, 8)] == [
            *[True, True, False, False, True, False, False]
        ]
        log.add(entry(9))
        assert numbers_of(log) == [1, 2, 5, 9]
        log.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lost", [1, 2, 10])
def test_a_truncated_line_is_discarded(tmp_path, lost):
    path = write(tmp_path, 1, 2)
    path.write_bytes(path.read_bytes()[:-lost])
    with ProgressLog(tmp_path, RUN) as log:
        assert numbers_of(log) == [1]
        log.add(entry(2))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        RUN,
        entry(1),
        entry(2),
    ]


def test_entries_after_a_corrupt_line_are_discarded(tmp_path):
    path = write(tmp_path, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + b"\0\0\0\n" + lines[3])
    with ProgressLog(tmp_path, RUN) as log:
        assert numbers_of(log) == [1]


def test_entries_without_output_are_discarded(tmp_path):
    with ProgressLog(tmp_path, RUN) as log:
        for number in (1, 2, 3):
            log.add(entry(number, record_end=10 * number))
    with ProgressLog(tmp_path, RUN, lambda one: one["record_end"] <= 25) as log:
        assert numbers_of(log) == [1, 2]


def test_the_log_of_another_run_is_discarded(tmp_path, caplog):
    path = write(tmp_path, 1)
    with ProgressLog(tmp_path, {"model": "other"}) as log:
        assert log.num_done == 0
        assert "starting again" in caplog.text
    assert path.read_text() == '{"model": "other"}\n'


@pytest.mark.parametrize("content", [b"", b'{"mod', b"\xff\xfe\n"])
def test_a_log_without_a_first_line_is_started_again(tmp_path, content):
    (tmp_path / PROGRESS_FILE).write_bytes(content)
    with ProgressLog(tmp_path, RUN) as log:
        assert log.num_done == 0
        log.add(entry(1))
    with ProgressLog(tmp_path, RUN) as log:
        assert log.num_done == 1


def test_two_runs_cannot_share_a_log(tmp_path):
    with ProgressLog(tmp_path, RUN), pytest.raises(ValueError, match="another run is writing to"):
        ProgressLog(tmp_path, RUN)
    ProgressLog(tmp_path, RUN).close()


def test_entries_from_a_second_one_of_an_image_on_are_discarded(tmp_path):
    path = write(tmp_path, 1, 2)
    with path.open("a") as file:
        for number in (1, 3):
            file.write(json.dumps(entry(number)) + "\n")
    with ProgressLog(tmp_path, RUN) as log:
        assert (log.num_done, numbers_of(log)) == (2, [1, 2])
