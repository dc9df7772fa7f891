"""The public sets by name: where they come from, on what terms, at what scale, in what layout.

None is downloaded by this program: each asks for its own terms to be read first.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    name: str
    title: str
    domain: str
    layout: str  # what the loader looks for, as said in errors
    citation: str = ""
    licence: str = "see the source"
    download: str = ""  # by hand
    um_per_px: float | None = None
    size_px: tuple[int, int] | None = None  # width, height of nearly all images; others are reported
    notes: tuple[str, ...] = ()


_ALL = (
    DatasetInfo(
        name="matek",
        title="Matek-19 (AML-Cytomorphology_LMU)",
        domain="matek",
        layout="<CODE>/ folders BAS, EBO, EOS, KSC, LYA, LYT, ... with .tiff images",
        citation="Matek et al., Nature Machine Intelligence 1, 538 (2019)",
        licence="CC BY 3.0",
        download="https://doi.org/10.7937/tcia.2019.36f5o9ld",
        um_per_px=0.071,
        size_px=(400, 400),
        notes=("Some images of Matek-19 carry an alpha channel; it says nothing and is dropped on reading.",),
    ),
    DatasetInfo(
        name="acevedo",
        title="Acevedo-20 (PBC_dataset_normal_DIB)",
        domain="acevedo",
        layout="folders basophil, eosinophil, erythroblast, ig, ... with files such as SNE_123456.jpg",
        citation="Acevedo et al., Data in Brief 30, 105474 (2020)",
        licence="CC BY 4.0",
        download="https://data.mendeley.com/datasets/snkd93bnjr/1",
        um_per_px=0.10,
        size_px=(360, 363),
        notes=(
            "252 images of Acevedo-20 are not 360 x 363 px, in five classes only: "
            "never let a model see image size or border.",
        ),
    ),
    DatasetInfo(
        name="raabin",
        title="Raabin-WBC, double-labelled crops",
        domain="raabin",
        layout="Train/, TestA/ (and TestB/) with <Class>/ folders",
        citation="Kouzehkanan et al., Scientific Reports 12, 1123 (2022)",
        download="https://raabindata.com/free-data/",
    ),
    DatasetInfo(
        name="ldwbc",
        title="LDWBC",
        domain="ldwbc",
        layout="<class>/ folders inside a folder named LDWBC",
        citation="Chen et al., BMC Bioinformatics 23, 282 (2022)",
        download="see the paper",
    ),
    DatasetInfo(
        name="zheng",
        title="Zheng-18 (segmentation_WBC, Dataset 1 and 2)",
        domain="zheng",
        layout="NNN.bmp with NNN.png masks and a CSV of image number and class 1 to 5",
        citation="Zheng et al., Micron 107, 55 (2018)",
        licence="GPL-3.0 (the repository)",
        download="https://github.com/zxaoyou/segmentation_WBC",
    ),
    DatasetInfo(
        name="lisc",
        title="LISC",
        domain="lisc",
        layout="'Main Dataset'/<Baso, eosi, lymp, mono, neut>/*.bmp",
        citation="Rezatofighi and Soltanian-Zadeh, Comput. Med. Imaging Graph. 35, 333 (2011)",
        download="http://users.cecs.anu.edu.au/~hrezatofighi/Data/Leukocyte%20Data.htm",
        notes=(
            "LISC images are whole fields of 720 x 576 px around one cell, not crops: segment them first.",
        ),
    ),
    DatasetInfo(
        name="bccd",
        title="BCCD (boxes in the layout of Pascal VOC)",
        domain="bccd",
        layout="JPEGImages/*.jpg with Annotations/*.xml",
        licence="MIT",
        download="https://github.com/Shenggan/BCCD_Dataset",
        size_px=(640, 480),
    ),
    DatasetInfo(
        name="bone_marrow",
        title="Bone marrow (Bone-Marrow-Cytomorphology_MLL_Helmholtz_Fraunhofer)",
        domain="bone_marrow",
        layout="<CODE>/ folders ABE, ART, BAS, BLA, EBO, ... with .jpg images",
        citation="Matek et al., Blood 138, 1917 (2021)",
        licence="CC BY 4.0",
        download="https://doi.org/10.7937/TCIA.AXH3-T579",
        size_px=(250, 250),
        notes=(
            "These cells are of bone marrow, not of blood. BLA (blasts of any line) count as myeloblasts; "
            "ABE (abnormal eosinophils), ART (artefacts), FGC (with bundles of Auer rods), HAC (hairy "
            "cells), LYI (immature lymphocytes), NIF (not identifiable), OTH (others), PEB "
            "(proerythroblasts) and PLM (plasma cells) are left out. Their pixel size is not known here.",
        ),
    ),
    DatasetInfo(
        name="mll23",
        title="MLL23",
        domain="mll23",
        layout="<class>/ folders such as normoblast, neutrophil_band, hairy_cell with .tif images",
        licence="CC BY 4.0",
        download="https://doi.org/10.5281/zenodo.14277609",
        um_per_px=0.087,
        size_px=(288, 288),
    ),
    DatasetInfo(
        name="sysu3h",
        title="SYSU3H (private)",
        domain="sysu3h",
        layout="<class>/ folders inside a folder named SYSU3H",
        licence="private",
    ),
    DatasetInfo(
        name="wbc_dg",
        title="WBC_DG, the arrangement of SADA",
        domain="",
        layout="<domain>/<class>/ folders inside a folder named WBC_DG",
    ),
    DatasetInfo(
        name="labels",
        title="A labelled folder of any lab",
        domain="",
        layout="labels.csv with columns image, class (and patient, um_per_px, mask) beside images/ or cells/",
    ),
    DatasetInfo(
        name="voc",
        title="Fields with boxes in Pascal VOC, named by class",
        domain="",
        layout="JPEGImages/ and Annotations/*.xml, or .xml beside the fields",
    ),
    DatasetInfo(
        name="coco",
        title="Fields with boxes or outlines in COCO",
        domain="",
        layout="fields with a COCO table beside them (_annotations.coco.json, also in train/, valid/, test/)",
    ),
    DatasetInfo(
        name="yolo",
        title="Fields with boxes or outlines in YOLO",
        domain="",
        layout="images/ and labels/ with .txt boxes, their names in data.yaml or classes.txt",
    ),
    DatasetInfo(
        name="folders",
        title="Class folders of any lab",
        domain="",
        layout="<class>/ or <domain>/<class>/ folders named by class (train/ and test/ are one domain)",
    ),
)

DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _ALL}
