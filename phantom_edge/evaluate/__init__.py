"""Accuracy: questions with known answers, asked of a checkpoint or of a bundle, scored, and compared pair by
pair.

>>> from phantom_edge.evaluate.job import build_suite, evaluate_models  # doctest: +SKIP
>>> suite = build_suite(tasks=["colour", "count"], samples=100)  # doctest: +SKIP
>>> int4, original = evaluate_models(["nano-ios", "phantom-nano"], suite)  # doctest: +SKIP
>>> change, by_task = int4.changes_from(original)  # doctest: +SKIP
>>> int4.overall.percent, str(change)  # doctest: +SKIP
(96.5, '-0.5 ± 1.2')

A session of one's own goes through :func:`phantom_edge.evaluate.ask.evaluate`.
"""
