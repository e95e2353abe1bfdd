import pytest

from object_detection_mtl.export.runtimes import runtime_models


@pytest.mark.parametrize("name", ["gone.onnx", "gone.xml"])
@pytest.mark.parametrize("read", [runtime_models.load, runtime_models.metadata])
def test_a_missing_file_is_said_whether_or_not_its_runtime_is_here(tmp_path, read, name):
    with pytest.raises(FileNotFoundError, match=f"{name}': there is no such file"):
        read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["model.pb", "model", ""])
def test_files_of_no_known_format(name):
    with pytest.raises(ValueError, match=r"expected a file that ends in .xml or .onnx"):
        runtime_models.engine_of(name)
