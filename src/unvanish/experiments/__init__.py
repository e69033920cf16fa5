"""Real steps and other changes on copies: what would happen if."""
