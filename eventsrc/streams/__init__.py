"""Streams as services use them: folds, decisions, snapshots, the past."""
