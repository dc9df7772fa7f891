"""Fine-tuning a cell segmenter on pictures with masks.

===========  ========================================================================
``cells``    pictures and masks to canvases: each cell in the middle, alike in size
``views``    canvases to the random views a training step sees
``losses``   Dice and cross-entropy, per image, against an oracle in the tests
``recipe``   what the training loop needs; the score on held-out cells
``report``   what came of it: scores, their spread, pictures before and after
===========  ========================================================================
"""
