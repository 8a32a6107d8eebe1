"""An author at work: new exercises, releasing them, and finding a course's mistakes."""
