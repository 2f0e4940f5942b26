"""Stores: where the journal and the record survive."""
