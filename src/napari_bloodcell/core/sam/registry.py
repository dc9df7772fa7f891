"""The checkpoints we know by name. Nothing here is fetched unless somebody asks for it."""

from dataclasses import dataclass

from napari_bloodcell.core.errors import WeightsError

_META = "https://dl.fbaipublicfiles.com/segment_anything/"
_META_LICENCE = "Apache-2.0"
_META_CITATION = (
    "Kirillov A, Mintun E, Ravi N, et al. Segment Anything. ICCV 2023, 4015-4026. "
    "doi:10.1109/ICCV51070.2023.00371"
)
_TORCHVISION = "https://download.pytorch.org/models/"
_RESNET_CITATION = (
    "He K, Zhang X, Ren S, Sun J. Deep Residual Learning for Image Recognition. CVPR 2016, 770-778. "
    "doi:10.1109/CVPR.2016.90. Trained on ImageNet (Russakovsky et al., IJCV 2015)."
)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One file: where it is from, how long it is, what it must hash to, and whom to thank."""

    name: str
    file_name: str
    url: str
    size_bytes: int
    sha256: str
    licence: str
    citation: str


REGISTRY = {
    one.name: one
    for one in (
        Weights(
            name=name, file_name=file_name, url=_META + file_name, size_bytes=size_bytes, sha256=sha256,
            licence=_META_LICENCE, citation=_META_CITATION,
        )
        for name, file_name, size_bytes, sha256 in (
            ("vit_b", "sam_vit_b_01ec64.pth", 375_042_383,
             "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
            ("vit_l", "sam_vit_l_0b3195.pth", 1_249_524_607,
             "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
            ("vit_h", "sam_vit_h_4b8939.pth", 2_564_550_879,
             "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
        )
    )
} | {
    one.name: one
    for one in (
        # torchvision's IMAGENET1K_V1, for the backbones of SADA
        Weights(
            name=name, file_name=file_name, url=_TORCHVISION + file_name, size_bytes=size_bytes,
            sha256=sha256, licence="BSD-3-Clause", citation=_RESNET_CITATION,
        )
        for name, file_name, size_bytes, sha256 in (
            ("resnet18", "resnet18-f37072fd.pth", 46_830_571,
             "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"),
            ("resnet50", "resnet50-0676ba61.pth", 102_530_333,
             "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"),
        )
    )
}  # fmt: skip


def known(name: str) -> Weights:
    if name not in REGISTRY:
        raise WeightsError(f"No weights are called {name!r}. There are: {', '.join(REGISTRY)}.")
    return REGISTRY[name]
