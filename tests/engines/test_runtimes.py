import pytest

from object_detection_mtl.engines import runtimes


@pytest.mark.parametrize("name", ["gone.onnx", "gone.xml"])
@pytest.mark.parametrize("read", [runtimes.load, runtimes.metadata])
def test_a_missing_file_is_said_whether_or_not_its_runtime_is_here(tmp_path, read, name):
    with pytest.raises(FileNotFoundError, match=f"{name}': there is no such file"):
        read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["model.pb", "model", ""])
def test_files_of_no_known_format(name):
    with pytest.raises(ValueError, match=r"expected a file that ends in .xml or .onnx"):
        runtimes.engine_of(name)
