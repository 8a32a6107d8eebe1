# promise: The gradebook can't be opened.
import sqlite3

try:
    print("ESCAPED", sqlite3.connect("file:@GRADEBOOK@?mode=rw", uri=True).execute("select * from grades").fetchall())
except sqlite3.Error as error:
    print("TRIED", error)
