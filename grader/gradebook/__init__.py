"""Every grading that was made, kept in a database, and what counts of them."""
