"""A real event log, replayed: `python -m examples.permits LOG.csv --store FILE.db`.

Each row of the log becomes commands of two services, that of the permits here and that of
`examples.identity`. Every command records what is not recorded yet, in one append that is all or
nothing; so a replay can be killed at any moment, and repeated.

Read cases.py (what is recorded), log.py (what a row says), replay.py (rows into commands), views.py
(what can be asked), and __main__.py (where it runs, and the report).
"""
