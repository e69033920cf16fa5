"""The causes of the diagnosis as detectors over a running training."""
