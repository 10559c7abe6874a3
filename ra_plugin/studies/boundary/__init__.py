"""Decision boundaries of recognizers around restored images."""
