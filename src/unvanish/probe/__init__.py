"""Looking at a model: the only place (with ``watch``) that registers hooks."""
