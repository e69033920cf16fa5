"""The user's own optimizer and training step: read, copied, listened to."""
