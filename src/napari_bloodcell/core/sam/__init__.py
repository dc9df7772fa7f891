"""Segment Anything for blood cells: any checkpoint, any size, LoRA, prompts.

Nothing here imports torch before a model is asked for: ``registry`` and ``weights`` never do, the other
modules import it at their top and are themselves imported where they are used.
"""
