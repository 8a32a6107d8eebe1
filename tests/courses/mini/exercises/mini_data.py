"""What the mini course's notebook imports."""

SIZE = 20
