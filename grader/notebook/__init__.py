"""What a notebook is and what a statement is: files, cells, and the syntax of students' Python."""
