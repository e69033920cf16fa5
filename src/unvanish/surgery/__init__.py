"""Surgery: edits to any model, on a copy, keeping the names of what is kept."""
