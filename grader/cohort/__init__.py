"""A class: grading it, exporting it, and comparing its students."""
