"""The lab: a real network with sliders, that a learner breaks, looks into, trains and cures."""
