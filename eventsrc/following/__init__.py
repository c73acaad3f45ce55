"""Keeping views up to date: the synchroniser and all that runs it."""
