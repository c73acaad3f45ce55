"""Databases of views: interpreters of the view operations."""
