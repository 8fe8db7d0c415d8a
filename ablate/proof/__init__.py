"""Whether published figures and the official code's numbers come out here."""
