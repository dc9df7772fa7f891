import pytest
import torch

from napari_bloodcell.core.device import computes_bf16, resolve
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
    with pytest.raises(DeviceError, match=r"Unknown device 'gpu'.*BLOODCELL_DEVICE, or File > Preferences"):
        resolve("auto")


@pytest.mark.parametrize("choice", ["gpu", "cuda:x", "", "CPU "])
def test_unknown_device_lists_what_is_accepted(choice: str) -> None:
    with pytest.raises(DeviceError, match="Accepted: auto, cpu, cuda"):
        resolve(choice)


@pytest.mark.parametrize("of", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_a_processor_computes_bf16_by_either_of_its_ways(monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == of)
    assert computes_bf16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, of, lambda: False)
    assert not computes_bf16(torch.device("cpu"))
    assert not computes_bf16(torch.device("mps"))
