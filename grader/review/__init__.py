"""The instructor's half hour: a local web application over the gradebook."""
