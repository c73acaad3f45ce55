"""How fast eventsrc is, beside other libraries and beside the same work done by hand.

`python -m benchmarks` from a checkout makes an environment with the peers, measures everything in turn
and prints a table; `--help` says what can be chosen, docs/benchmarks.md how to read it.

`systems/` holds what is measured: peers, the raw engine, eventsrc. `work/` holds what they have to do.
`rounds` lets each system do each work, in turn, and `table` shows what came of it.
"""
