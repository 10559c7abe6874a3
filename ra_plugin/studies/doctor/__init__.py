"""The check of a recognizer before it is trained with."""
