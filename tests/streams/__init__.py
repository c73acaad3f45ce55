"""Tests of events, the codec, recorded events, stream ids, positions, streams and decisions."""
