"""The parts of ``benchmarks/depth.py``: tasks, nets, contestants, one training run, the tables."""
