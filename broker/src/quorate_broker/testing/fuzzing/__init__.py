"""Fuzzing by coverage of everything that reads bytes which nobody vouches for: disks and sockets.

`targets` has one function per reader: it takes bytes and raises only if the reader did something
other than its docstring says. `__main__` runs one of them under atheris:

    python -m quorate_broker.testing.fuzzing rot CORPUS... -runs=100000 -seed=1

What it finds becomes a named test; the input goes to the corpus in `tests/fuzz/corpus`.
"""
