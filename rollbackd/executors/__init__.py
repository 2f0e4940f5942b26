"""Executors: each knows how one kind of thing is rolled back."""
