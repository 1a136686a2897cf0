"""Lanes described with the LUTs and carry blocks of the 7-series."""
