"""Small networks written by other people's tools, and what hwgen makes of the files."""
