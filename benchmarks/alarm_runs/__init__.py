"""Small real trainings for the alarms: healthy ones that look suspicious, and injected faults."""
