"""Which recipe for this device? Combinations exported, verified, asked and timed, on Ray; the best shown.

:func:`~phantom_edge.sweep.job.sweep` is the whole of it. What a combination is stands in ``axes``, what is
measured of one in ``task``, who is best in ``front``, and all that knows of Ray in ``cluster``.
"""
