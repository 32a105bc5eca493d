"""Engines without a model, whose every output depends on everything they were given: the honest end of each test."""
