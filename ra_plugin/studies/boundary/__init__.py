"""Where a recognizer's decision changes around images, before and after restoration."""
