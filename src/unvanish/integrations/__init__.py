"""Thin adapters: where each framework's training begins and ends. What is read is read by watch."""
