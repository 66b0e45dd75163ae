"""What a model costs on a device: measured (``bench``) or predicted (``estimate``), in one form for all.

``results`` is that form; ``local``, ``browser``, ``android`` and ``apple`` fill it in on one kind of device
each; ``estimate`` predicts its rows; ``report`` and ``view`` show it.
"""
