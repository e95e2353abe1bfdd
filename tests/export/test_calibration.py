"""Calibration of an export to int8."""

from object_detection_mtl import cpu_features
from object_detection_mtl.export import calibration


def test_a_cpu_without_vnni_is_named(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpu_features, "CPU_INFO", path)
    path.write_text("flags\t\t: fpu avx2 avx512f\n")
    assert "no VNNI" in calibration.describe_cpu()
    for line in ("flags\t\t: avx2 avx_vnni\n", "Features\t: asimd asimddp\n"):
        path.write_text(line)
        assert calibration.describe_cpu() == ""
