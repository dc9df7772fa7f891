"""Whole slides, too large for the memory: where to look (``plan``), block by block (``block``), the labels as
OME-Zarr (``pyramid``), an overview (``overview``), and all of it in one call (``analysis``).
"""
