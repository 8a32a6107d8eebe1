# promise: Nothing that a student prints moves a terminal's cursor, sets its title or reorders the page.
# place: instead
# missing: steps/dscaled
import sys

attack = "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://example.org\x1b\\\x9b31m\r\b\x00\u202e\u2066\ud800"
sys.stdout.write("TRIED " + attack.encode("utf-8", "replace").decode())
dscaled = type(attack.encode("utf-8", "replace").decode().replace("\x00", ""), (), {})()
dhsum = (h / scaled.numel()).sum(1, keepdim=True)
dh = hsum / scaled.numel() + dhsum
print(attack.encode("utf-8", "surrogatepass"), file=sys.stderr)
