"""Courses and students: two rules that span streams, and one service that keeps them.

A course has so many seats, and a student takes at most ten courses: the example of dcb.events.
"""
