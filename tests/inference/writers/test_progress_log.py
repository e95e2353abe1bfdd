"""The journal: every whole line counts, whatever ended the run."""

import json

import pytest

from object_detection_mtl.inference.writers.progress_log import NAME, Journal

RUN = {"model": "m"}


def entry(number, **more):
    return {"image": {"id": number}, **more}


def write(folder, *numbers):
    with Journal(folder, RUN) as book:
        for number in numbers:
            book.add(entry(number))
    return folder / NAME


def numbers_of(book):
    return [one["image"]["id"] for one in book.entries()]


def test_entries_come_back_by_number(tmp_path):
    write(tmp_path, 2, 5)
    with Journal(tmp_path, RUN) as book:
        assert (book.num_done, book.last) == (2, entry(5))
        book.add(entry(1))
        assert numbers_of(book) == [1, 2, 5]
        assert [book.is_done(number) for number in range(1, 8)] == [
            *[True, True, False, False, True, False, False]
        ]
        book.add(entry(9))
        assert numbers_of(book) == [1, 2, 5, 9]
        book.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lost", [1, 2, 10])
def test_a_cut_off_line_is_forgotten(tmp_path, lost):
    path = write(tmp_path, 1, 2)
    path.write_bytes(path.read_bytes()[:-lost])
    with Journal(tmp_path, RUN) as book:
        assert numbers_of(book) == [1]
        book.add(entry(2))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        RUN,
        entry(1),
        entry(2),
    ]


def test_what_follows_damage_is_forgotten(tmp_path):
    path = write(tmp_path, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + b"\0\0\0\n" + lines[3])
    with Journal(tmp_path, RUN) as book:
        assert numbers_of(book) == [1]


def test_entries_whose_output_is_gone_are_forgotten(tmp_path):
    with Journal(tmp_path, RUN) as book:
        for number in (1, 2, 3):
            book.add(entry(number, record_end=10 * number))
    with Journal(tmp_path, RUN, lambda one: one["record_end"] <= 25) as book:
        assert numbers_of(book) == [1, 2]


def test_that_of_another_run_is_given_up(tmp_path, caplog):
    path = write(tmp_path, 1)
    with Journal(tmp_path, {"model": "other"}) as book:
        assert book.num_done == 0 and "starting anew" in caplog.text
    assert path.read_text() == '{"model": "other"}\n'


@pytest.mark.parametrize("content", [b"", b'{"mod', b"\xff\xfe\n"])
def test_a_journal_that_never_began(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with Journal(tmp_path, RUN) as book:
        assert book.num_done == 0
        book.add(entry(1))
    with Journal(tmp_path, RUN) as book:
        assert book.num_done == 1


def test_two_runs_do_not_share_a_journal(tmp_path):
    with Journal(tmp_path, RUN):
        with pytest.raises(ValueError, match="another run is writing to"):
            Journal(tmp_path, RUN)
    Journal(tmp_path, RUN).close()
