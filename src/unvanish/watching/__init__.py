"""A running training, watched: hooks at the optimizer step, a time budget, alarms, deep looks."""
