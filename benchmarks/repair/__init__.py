"""The parts of ``benchmarks/treatment.py``: programs, labels by training, judges, the table."""
