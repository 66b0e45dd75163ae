"""Accuracy: questions with known answers, put to a checkpoint or bundle, scored, compared in pairs.

>>> suite = pe.build_suite(tasks=["colour", "count"], samples=4)
>>> int4, original = pe.evaluate_models(["nano-desktop", "phantom-nano"], suite)
>>> change, by_task = int4.changes_from(original)
>>> int4.overall.percent, str(change)
(100.0, '+0.0 ± 27.7')

A session of one's own goes through :func:`phantom_edge.evaluate.ask.evaluate`.
"""
