"""The floor's measuring instrument: simulated calls in virtual time through the real hearing, dialogue and playout.

`python -m tests.bench.floor` prints every row of `rows.toml` with its 95 % interval and exits 1 on a miss.
"""
