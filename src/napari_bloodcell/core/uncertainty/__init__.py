"""How far an answer can be trusted: calibrated probabilities, sets of possible classes, distance to the
training cells, and the rule that says "unidentified"."""
