import pytest

from object_detection_mtl.export.runtimes import runtime_models


@pytest.mark.parametrize("name", ["gone.onnx", "gone.xml"])
@pytest.mark.parametrize("read", [runtime_models.load_model, runtime_models.read_metadata])
def test_a_missing_file_is_said_whether_or_not_its_runtime_is_here(tmp_path, read, name):
    with pytest.raises(FileNotFoundError, match=f"{name}': the file does not exist"):
        read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["model.pb", "model", ""])
def test_files_of_no_known_format(name):
    with pytest.raises(ValueError, match=r"expected a file with extension .xml or .onnx"):
        runtime_models.engine_of_file(name)
