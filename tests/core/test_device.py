import pytest
import torch

from napari_bloodcell.core.device import resolve
from napari_bloodcell.core.errors import DeviceError


def test_cpu_is_always_there() -> None:
    device, why = resolve("cpu")
    assert device == torch.device("cpu")
    assert "as asked" in why


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_auto_falls_back_and_says_so() -> None:
    device, why = resolve("auto")
    assert device.type in ("cpu", "mps")
    assert why.startswith("Using the ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("choice", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_that_is_not_there_is_refused(choice: str) -> None:
    with pytest.raises(DeviceError, match="sees no GPU. Use 'auto' or 'cpu'"):
        resolve(choice)


def test_auto_takes_what_is_set_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODCELL_DEVICE", "cpu")
    assert resolve("auto") == (torch.device("cpu"), "Using the CPU, as set for this machine.")
    monkeypatch.setenv("BLOODCELL_DEVICE", "gpu")
    with pytest.raises(DeviceError, match="Unknown device 'gpu'"):
        resolve("auto")


@pytest.mark.parametrize("choice", ["gpu", "cuda:x", "", "CPU "])
def test_unknown_device_lists_what_is_accepted(choice: str) -> None:
    with pytest.raises(DeviceError, match="Accepted: auto, cpu, cuda"):
        resolve(choice)
