"""SADA (arXiv 2412.02976) and its baselines: train on several labs, use on one that was never seen.

=============  ====================================================================================
``cells``      folders of several labs -> the arrays a training samples from
``backbones``  ResNet 50, 18, small, or our own image encoder; weights; normalisation
``views``      restained views of one geometry, colour jitter, made on the device
``losses``     proxy contrast, supervised contrast, local alignment, logit adjustment
``methods``    sada, erm, coral, mixup: one file each
``swad``       where the loss lies in a valley, and the mean of the weights there
``recipe``     any of the methods for the one training loop
``model``      what comes out: an encoder with its classifier, in one file
``fit``        all of it in one call
=============  ====================================================================================
"""
