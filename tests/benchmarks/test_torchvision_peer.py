"""torchvision's detectors beside ours, in an environment of their own."""

import subprocess
import venv

import pytest

from benchmarks import peer_models

# Pairs of releases; the newest torch alone may be without a build of torchvision.
PACKAGES = ["torchvision", "numpy"]

pytestmark = pytest.mark.long


def test_a_detector_of_torchvision_is_called_beside_others(tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"{PACKAGES} cannot be installed: {done.stderr[-300:]}")
    name = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"
    peer = peer_models.Peer(name, 96, 128, python=str(python))
    try:
        answers = peer_models.measure({name: peer}, rounds=2, warmup=1)[name]
    finally:
        peer.close()
    assert peer.load > 0
    assert all(0 < answer["wall"] < 60 and answer["number"] <= 100 for answer in answers)


def test_an_unknown_model_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="torchvision:no_such_detector"):
        peer_models.Peer("torchvision:no_such_detector", 96, 128)
