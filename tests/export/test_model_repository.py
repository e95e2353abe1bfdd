"""Model repositories: versions that appear complete, and Triton's configuration."""

import pytest

from object_detection_mtl.export import model_repository


@pytest.fixture
def saved_model(tmp_path):
    directory = tmp_path / "exported" / "saved_model"
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"graph")
    (directory / "variables" / "variables.index").write_bytes(b"index")
    return str(directory)


def files(directory):
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def test_versions_are_numbered_and_complete(saved_model, tmp_path):
    repository = tmp_path / "models"
    for version in ("1", "2"):
        added = model_repository.add_version(saved_model, str(repository), "detector")
        assert added == str(repository / "detector" / version)
    (repository / "detector" / "7").mkdir()
    added = model_repository.add_version(saved_model, str(repository), "detector")
    assert added == str(repository / "detector" / "8")
    assert files(repository / "detector" / "8") == ["saved_model.pb", "variables/variables.index"]
    assert sorted(path.name for path in (repository / "detector").iterdir()) == ["1", "2", "7", "8"]
    # Servers run as other users.
    assert (repository / "detector" / "8").stat().st_mode & 0o777 == 0o755


def test_nothing_is_left_where_a_copy_fails(tmp_path):
    (tmp_path / "model.xml").write_text("<net/>")  # without model.bin
    with pytest.raises(FileNotFoundError, match="model.bin"):
        model_repository.add_version(str(tmp_path / "model.xml"), str(tmp_path / "models"), "a")
    assert list((tmp_path / "models" / "a").iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "-a"])
def test_unusable_names(tmp_path, name):
    with pytest.raises(ValueError, match="is unusable as a directory"):
        model_repository.check_place(str(tmp_path), name, "onnx")


def test_unusable_places(saved_model, tmp_path):
    with pytest.raises(ValueError, match="is not on this machine"):
        model_repository.check_place("gs://bucket/models", "detector", "onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file; expected a directory"):
        model_repository.check_place(str(tmp_path / "file"), "detector", "onnx")
    with pytest.raises(ValueError, match="is a file; expected a directory"):
        model_repository.check_place(str(tmp_path), "file", "onnx")
    model_repository.add_version(saved_model, str(tmp_path / "models"), "detector")
    with pytest.raises(
        ValueError, match="has versions in format 'saved_model', and the new one has"
    ):
        model_repository.check_place(str(tmp_path / "models"), "detector", "onnx")
