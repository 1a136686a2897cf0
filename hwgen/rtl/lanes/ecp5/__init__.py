"""Lanes described with the carry cells of the ECP5."""
